package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"go.yaml.in/yaml/v3"
)

// render is helm template with what of its functions the chart uses. Where there is a helm, TestChart compares the two.
func render(values map[string]any) (docs []map[string]any, err error) {
	root := template.New("chart").Option("missingkey=error")
	toYAML := func(v any) (string, error) {
		var b bytes.Buffer
		e := yaml.NewEncoder(&b)
		e.SetIndent(2)
		err := e.Encode(v)
		return strings.TrimSuffix(b.String(), "\n"), err
	}
	indent := func(n int, s string) string {
		pad := strings.Repeat(" ", n)
		return "\n" + pad + strings.ReplaceAll(s, "\n", "\n"+pad)
	}
	root.Funcs(template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var b bytes.Buffer
			err := root.ExecuteTemplate(&b, name, data)
			return b.String(), err
		},
		"toYaml": toYAML, "nindent": indent,
		"quote":      func(v any) string { return fmt.Sprintf("%q", fmt.Sprint(v)) },
		"contains":   func(part, s string) bool { return strings.Contains(s, part) },
		"trunc":      func(n int, s string) string { return s[:min(n, len(s))] },
		"trimSuffix": func(end, s string) string { return strings.TrimSuffix(s, end) },
		"fail":       func(text string) (string, error) { return "", errors.New(text) },
		"list":       func(v ...any) []any { return v },
		"concat": func(lists ...[]any) (all []any) {
			for _, l := range lists {
				all = append(all, l...)
			}
			return all
		},
		"dict": func(v ...any) map[string]any {
			d := map[string]any{}
			for i := 0; i+1 < len(v); i += 2 {
				d[v[i].(string)] = v[i+1]
			}
			return d
		},
		"int": func(v any) (int, error) { return strconv.Atoi(fmt.Sprint(v)) },
		"default": func(otherwise, v any) any {
			if v == nil || reflect.ValueOf(v).IsZero() {
				return otherwise
			}
			return v
		},
		"ternary": func(yes, no any, is bool) any {
			if is {
				return yes
			}
			return no
		},
	})
	files, err := filepath.Glob("../../deploy/helm/lanyard/templates/*")
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if _, err := root.New(filepath.Base(path)).Parse(string(b)); err != nil {
			return nil, err
		}
	}
	data := map[string]any{"Values": values, "Chart": map[string]any{"Name": "lanyard", "Version": "0.1.0", "AppVersion": "dev"},
		"Release": map[string]any{"Name": "x", "Namespace": "default", "Service": "Helm"}}
	for _, path := range files {
		var b bytes.Buffer
		if err := root.ExecuteTemplate(&b, filepath.Base(path), data); err != nil {
			return nil, err
		}
		if filepath.Ext(path) != ".yaml" {
			continue
		}
		more, err := documents(b.Bytes())
		if err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", path, err, b.String())
		}
		docs = append(docs, more...)
	}
	return docs, nil
}

func documents(b []byte) (docs []map[string]any, err error) {
	for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
		var doc map[string]any
		if err := d.Decode(&doc); err == io.EOF {
			return docs, nil
		} else if err != nil {
			return nil, err
		}
		if doc != nil {
			docs = append(docs, doc)
		}
	}
}

// in is a value deep in a document; nil when it is not there.
func in(doc any, path ...any) any {
	for _, p := range path {
		switch at := doc.(type) {
		case map[string]any:
			name, _ := p.(string)
			doc = at[name]
		case []any:
			i, ok := p.(int)
			if !ok || i >= len(at) {
				return nil
			}
			doc = at[i]
		default:
			return nil
		}
	}
	return doc
}

// TestChart: the chart renders in both modes, refuses what cannot be, and its pods have no rights.
func TestChart(t *testing.T) {
	t.Parallel()
	helm, _ := exec.LookPath("helm")
	for _, c := range []struct {
		name, set, fails string
		kinds            map[string]int
	}{
		{"all", "podMonitor.enabled=true", "", map[string]int{"StatefulSet": 1, "Service": 1, "PodMonitor": 1}},
		{"bare", "tls.secretName=", "", map[string]int{"StatefulSet": 1, "Service": 1}},
		{"split", "mode=split,database.secretName=db,seal.key=openbao:https://bao/transit/keys/x,seal.tokenSecretName=bao,otlpEndpoint=http://c:4318,gateway.joinTokenSecretName=gw-1", "",
			map[string]int{"Deployment": 1, "StatefulSet": 1, "PodDisruptionBudget": 1, "Service": 2}},
		{"a gateway alone", "mode=split,control.replicas=0,gateway.control=https://c:8442,gateway.joinTokenSecretName=gw-2", "", map[string]int{"StatefulSet": 1, "Service": 1}},
		{"a gateway of nobody", "mode=split,control.replicas=0", "needs gateway.control", nil},
		{"two gateways", "mode=split,database.secretName=db,seal.key=x,gateway.replicas=2", "a token of its own", nil},
		{"no database", "mode=split", "needs database.secretName", nil},
		{"no seal", "mode=split,database.secretName=db", "needs seal.key", nil},
		{"no mode", "mode=x", "all or split", nil},
		{"a database for one", "database.secretName=db", "for mode: split", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var values map[string]any
			b, err := os.ReadFile("../../deploy/helm/lanyard/values.yaml")
			if err == nil {
				err = yaml.Unmarshal(b, &values)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, set := range strings.Split(c.set, ",") {
				path, value, _ := strings.Cut(set, "=")
				at, names := values, strings.Split(path, ".")
				for _, n := range names[:len(names)-1] {
					at = at[n].(map[string]any)
				}
				last := names[len(names)-1]
				if at[last] == nil {
					t.Fatalf("values.yaml has no %s", path)
				}
				if at[last] = value; value == "true" {
					at[last] = true
				}
			}
			docs, err := render(values)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("%v, want %q", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			kinds := map[string]int{}
			for _, doc := range docs {
				kind, _ := doc["kind"].(string)
				kinds[kind]++
				if kind != "StatefulSet" && kind != "Deployment" {
					continue
				}
				pod := in(doc, "spec", "template", "spec")
				own := in(pod, "containers", 0, "securityContext")
				if in(pod, "securityContext", "runAsNonRoot") != true || in(own, "readOnlyRootFilesystem") != true || in(own, "allowPrivilegeEscalation") != false || in(own, "capabilities", "drop", 0) != "ALL" ||
					in(pod, "automountServiceAccountToken") != false || in(pod, "enableServiceLinks") != false {
					t.Errorf("the pod of %s has rights that it does not need", kind)
				}
				labels, chosen := in(doc, "spec", "template", "metadata", "labels").(map[string]any), in(doc, "spec", "selector", "matchLabels").(map[string]any)
				for name, value := range chosen {
					if labels[name] != value {
						t.Errorf("%s selects %s=%v, its pods have %v", kind, name, value, labels[name])
					}
				}
				env := map[string]bool{}
				for _, v := range in(pod, "containers", 0, "env").([]any) {
					env[in(v, "name").(string)] = true
				}
				if joins := labels["app.kubernetes.io/component"] == "gateway"; env["LANYARD_JOIN_TOKEN"] != joins || env["LANYARD_CONTROL"] != joins {
					t.Errorf("%v has the join token: %v", labels["app.kubernetes.io/component"], env["LANYARD_JOIN_TOKEN"])
				}
				if kind == "StatefulSet" && (in(doc, "spec", "volumeClaimTemplates", 0, "metadata", "name") != "data" || in(doc, "spec", "replicas") != 1) {
					t.Errorf("the data folder of %v is not a claim of one pod", in(doc, "metadata", "name"))
				}
				volumes := map[string]bool{}
				for _, of := range []any{in(pod, "volumes"), in(doc, "spec", "volumeClaimTemplates")} {
					list, _ := of.([]any)
					for _, v := range list {
						for _, name := range []any{in(v, "name"), in(v, "metadata", "name")} {
							if s, ok := name.(string); ok {
								if volumes[s] {
									t.Errorf("%s has two volumes %s", kind, s)
								}
								volumes[s] = true
							}
						}
					}
				}
				for _, m := range in(pod, "containers", 0, "volumeMounts").([]any) {
					if !volumes[in(m, "name").(string)] {
						t.Errorf("%s mounts %v, which there is not", kind, in(m, "name"))
					}
				}
			}
			if !maps.Equal(kinds, c.kinds) {
				t.Errorf("%v, want %v", kinds, c.kinds)
			}
			if helm == "" {
				return
			}
			out, err := exec.Command(helm, "template", "x", "../../deploy/helm/lanyard", "--kube-version", "1.30.0", "--set", c.set).Output()
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := documents(out)
			if err != nil {
				t.Fatal(err)
			}
			for _, doc := range docs {
				found := false
				for _, other := range theirs {
					found = found || reflect.DeepEqual(doc, other)
				}
				if !found {
					t.Errorf("helm renders another %v", doc["kind"])
				}
			}
		})
	}
}
