"""Token exchange (RFC 8693) with Authlib. Same task, same answer as exchange-openid-client.mjs.

Authlib knows no DPoP (RFC 9449): the proofs are made here, with the JOSE library that it uses."""
import base64
import hashlib
import json
import sys
import time
import uuid
import warnings

import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jwt
from joserfc.jwk import OKPKey, import_key

warnings.filterwarnings("ignore", message="EdDSA is deprecated")

task = json.loads(sys.argv[1])
metadata = requests.get(task["issuer"] + "/.well-known/oauth-authorization-server", timeout=10).json()
endpoint = metadata["token_endpoint"]
proofs = OKPKey.generate_key("Ed25519")
nonces = {}


def proof(method, url, token=None):
    claims = {"jti": uuid.uuid4().hex, "htm": method, "htu": url, "iat": int(time.time())}
    host = url.split("/")[2]
    if host in nonces:
        claims["nonce"] = nonces[host]
    if token:
        claims["ath"] = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
    return jwt.encode({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": proofs.as_dict(private=False)}, claims, proofs, algorithms=["EdDSA"])


def learn(res, *args, **kwargs):
    if "DPoP-Nonce" in res.headers:
        nonces[res.url.split("/")[2]] = res.headers["DPoP-Nonce"]
    return res


def session():
    """By itself Authlib makes assertions good for an hour, which is more than is taken; with claims, the same one again."""
    method = PrivateKeyJWT(endpoint, claims={"exp": int(time.time()) + 120}, alg=task["alg"])
    s = OAuth2Session(task["client"], import_key(task["key"]), token_endpoint_auth_method=method)
    s.hooks["response"].append(learn)
    return s


def exchange(subject):
    for attempt in range(2):
        try:
            return session().fetch_token(endpoint, grant_type=task["grant"], headers={"DPoP": proof("POST", endpoint), "Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"},
                                       subject_token=subject, subject_token_type=task["kind"], resource=task["resource"], scope="read")
        except OAuthError as err:
            if err.error != "use_dpop_nonce" or attempt:
                raise


seen = {"advertised": task["grant"] in metadata["grant_types_supported"]}
token = exchange(task["subject"])
seen["token"] = dict(token)
for _ in range(2):
    res = requests.get(task["url"], timeout=10, headers={"Authorization": "DPoP " + token["access_token"], "DPoP": proof("GET", task["url"], token["access_token"])})
    learn(res)
seen["call"] = {"status": res.status_code, "body": res.text}
seen["introspection"] = session().introspect_token(metadata["introspection_endpoint"], token["access_token"]).json()
try:
    exchange(task["wrong"])
    seen["refused"] = "nothing"
except OAuthError as err:
    seen["refused"] = err.error
print(json.dumps(seen))
