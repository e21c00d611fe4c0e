package main

import (
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/lanyard-dev/lanyard/internal/policy"
	"github.com/lanyard-dev/lanyard/internal/provenance"
)

// readProvenance reads a file of what is known beforehand of where values come from.
func readProvenance(file string) (*policy.Provenance, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var p struct {
		Members, Contacts []string
		Roles, Effects    map[string]string
		Labels            map[string][]string
	}
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	out := &policy.Provenance{Labels: p.Labels}
	out.Members, out.Contacts = p.Members, p.Contacts
	out.Roles, out.Effects = words[provenance.Role](p.Roles), words[provenance.Effect](p.Effects)
	return out, nil
}

func words[T ~string](of map[string]string) map[string]T {
	out := make(map[string]T, len(of))
	for k, v := range of {
		out[k] = T(v)
	}
	return out
}
