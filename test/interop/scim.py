"""SCIM 2.0 with scim2-tester, which checks a server against RFC 7643 and RFC 7644: what it found, as JSON.

scim.py URL KEY"""
import json
import sys

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import check_server

url, key = sys.argv[1:]
client = SyncSCIMClient(Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30))
print(json.dumps([{"status": r.status.name, "check": r.title, "of": getattr(r, "resource_type", None), "reason": str(r.reason or "")} for r in check_server(client)]))
