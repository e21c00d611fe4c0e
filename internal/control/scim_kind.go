package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/control/store"
)

// What of SCIM's schemas is kept (RFC 7643 sections 4.1 and 4.2). What a directory tells besides is taken and forgotten, as section 2.2 of RFC 7643
// has it for what is not understood: its mapping need not be changed for us.

// scimKind is a kind of resource.
type scimKind struct {
	noun, plural, urn string
	name              string // the attribute that people know one by, unique in any case
	about             string
	attrs             []scimAttribute
	forgotten         []string // attributes of its schema that are not kept
}

// scimAttribute is one, as RFC 7643 section 7 describes it; the members are those of its schema.
type scimAttribute struct {
	Name        string          `json:"name"`
	Type        string          `json:"type"`
	Parts       []scimAttribute `json:"subAttributes,omitempty"`
	Multi       bool            `json:"multiValued"`
	Description string          `json:"description"`
	Required    bool            `json:"required"`
	Exact       bool            `json:"caseExact"`
	Mutability  string          `json:"mutability"`
	Returned    string          `json:"returned"`
	Uniqueness  string          `json:"uniqueness"`
	References  []string        `json:"referenceTypes,omitempty"`
}

func scimText(name, about string, parts ...scimAttribute) scimAttribute {
	a := scimAttribute{Name: name, Type: "string", Description: about, Mutability: "readWrite", Returned: "default", Uniqueness: "none", Parts: parts}
	if len(parts) > 0 {
		a.Type = "complex"
	}
	return a
}

func (a scimAttribute) with(set func(*scimAttribute)) scimAttribute { set(&a); return a }

const (
	scimCore = "urn:ietf:params:scim:schemas:core:2.0:"
	scimAPI  = "urn:ietf:params:scim:api:messages:2.0:"
	readOnly = "readOnly"
)

var (
	scimUser = &scimKind{noun: "User", plural: "Users", urn: scimCore + "User", name: "userName", about: "A person, who owns identities",
		attrs: []scimAttribute{
			scimText("userName", "What the directory knows the person by").with(func(a *scimAttribute) { a.Required, a.Uniqueness = true, "server" }),
			scimText("name", "The person's name", scimText("formatted", "As it is written"), scimText("familyName", "Family name"), scimText("givenName", "Given name")),
			scimText("displayName", "The name that others see"),
			scimText("active", "Whether the person belongs to the organisation; when no more, they leave").with(func(a *scimAttribute) { a.Type = "boolean" }),
			scimText("emails", "Addresses; the primary one is that of the owner, and must be nobody else's", scimText("value", "The address").with(func(a *scimAttribute) { a.Required = true }), scimText("type", "As in work or home"),
				scimText("primary", "It is the one that counts").with(func(a *scimAttribute) { a.Type = "boolean" })).with(func(a *scimAttribute) { a.Multi, a.Required = true, true }),
			scimText("groups", "Groups that the person is in", scimText("value", "Id of the group").with(ofServer), scimText("$ref", "The group").with(refers("Group")), scimText("display", "Its name").with(ofServer)).with(ofServer).with(func(a *scimAttribute) { a.Multi = true }),
		},
		forgotten: []string{"nickName", "profileUrl", "title", "userType", "preferredLanguage", "locale", "timezone", "password", "phoneNumbers", "ims", "photos", "addresses", "entitlements", "roles", "x509Certificates"}}
	scimGroup = &scimKind{noun: "Group", plural: "Groups", urn: scimCore + "Group", name: "displayName", about: "A group, whose members may have roles by it",
		attrs: []scimAttribute{
			scimText("displayName", "What people call it").with(func(a *scimAttribute) { a.Required, a.Uniqueness = true, "server" }),
			scimText("members", "Users in it", scimText("value", "Id of the user").with(func(a *scimAttribute) { a.Mutability = "immutable" }), scimText("$ref", "The user").with(refers("User")).with(func(a *scimAttribute) { a.Mutability = "immutable" })).with(func(a *scimAttribute) { a.Multi = true }),
		}}
	scimKinds = []*scimKind{scimUser, scimGroup}
)

func ofServer(a *scimAttribute) { a.Mutability = readOnly }

func refers(to string) func(*scimAttribute) {
	return func(a *scimAttribute) {
		a.Type, a.References, a.Exact, a.Mutability = "reference", []string{to}, true, readOnly
	}
}

// scimCommon are the attributes of every resource.
var scimCommon = []string{"id", "externalId", "meta", "schemas"}

// find returns an attribute that is kept.
func (k *scimKind) find(name string) (scimAttribute, bool) {
	n := slices.IndexFunc(k.attrs, func(a scimAttribute) bool { return strings.EqualFold(a.Name, name) })
	if n < 0 {
		return scimAttribute{}, false
	}
	return k.attrs[n], true
}

// attribute is the name of one as the schema has it, which may be written in any case.
func (k *scimKind) attribute(name string) string {
	if a, ok := k.find(name); ok {
		return a.Name
	}
	for _, c := range scimCommon {
		if strings.EqualFold(c, name) {
			return c
		}
	}
	return name
}

// part is the name of a part of an attribute as the schema has it.
func (k *scimKind) part(attr, name string) string {
	a, _ := k.find(attr)
	for _, p := range a.Parts {
		if strings.EqualFold(p.Name, name) {
			return p.Name
		}
	}
	if attr == "meta" {
		for _, p := range []string{"resourceType", "created", "lastModified", "location", "version"} {
			if strings.EqualFold(p, name) {
				return p
			}
		}
	}
	return name
}

// known reports whether the schema has an attribute that is not kept.
func (k *scimKind) known(name string) bool {
	return slices.ContainsFunc(k.forgotten, func(f string) bool { return strings.EqualFold(f, name) })
}

// normal is what of a resource that was sent is kept, with its names as the schema has them.
func (k *scimKind) normal(in map[string]any) (map[string]any, error) {
	out := map[string]any{}
	for name, v := range in {
		attr := k.attribute(name)
		if strings.EqualFold(name, k.urn) { // its attributes in an object of their own, which some send
			inner, _ := v.(map[string]any)
			more, err := k.normal(inner)
			if err != nil {
				return nil, err
			}
			for name, v := range more {
				out[name] = v
			}
			continue
		}
		if attr == "externalId" {
			if s, ok := v.(string); ok && s != "" {
				out[attr] = s
			} else if v != nil && !ok {
				return nil, errors.New("externalId is a text")
			}
			continue
		}
		a, ok := k.find(attr)
		if !ok || a.Mutability == readOnly {
			continue
		}
		value, err := k.value(a, v)
		if err != nil {
			return nil, err
		}
		if _, twice := out[attr]; twice {
			return nil, fmt.Errorf("%s is there twice", attr)
		}
		if value != nil {
			out[attr] = value
		}
	}
	return out, nil
}

// value is a value of an attribute as it is kept; nil for none (RFC 7643 section 2.5).
func (k *scimKind) value(a scimAttribute, v any) (any, error) {
	if a.Multi {
		many, ok := v.([]any)
		if one, single := v.(map[string]any); single {
			many, ok = []any{one}, true
		}
		if v == nil {
			return nil, nil
		}
		if s, text := v.(string); text { // the value alone
			many, ok = []any{map[string]any{"value": s}}, true
		}
		if !ok {
			return nil, fmt.Errorf("%s is a list", a.Name)
		}
		list := make([]any, 0, len(many))
		for _, one := range many {
			e, err := k.object(a, one)
			if err != nil {
				return nil, err
			}
			if len(e) > 0 {
				list = append(list, e)
			}
		}
		if len(list) == 0 {
			return nil, nil
		}
		return list, nil
	}
	if len(a.Parts) > 0 {
		if v == nil {
			return nil, nil
		}
		e, err := k.object(a, v)
		if err != nil || len(e) == 0 {
			return nil, err
		}
		return e, nil
	}
	return scimSimple(a, v)
}

func (k *scimKind) object(a scimAttribute, v any) (map[string]any, error) {
	in, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s has parts, and is an object", a.Name)
	}
	out := map[string]any{}
	for name, v := range in {
		name = k.part(a.Name, name)
		n := slices.IndexFunc(a.Parts, func(p scimAttribute) bool { return p.Name == name })
		if n < 0 || a.Parts[n].Mutability == readOnly {
			continue
		}
		one, err := scimSimple(a.Parts[n], v)
		if err != nil {
			return nil, fmt.Errorf("%s.%w", a.Name, err)
		}
		if one != nil {
			out[name] = one
		}
	}
	return out, nil
}

// scimSimple is a value that has no parts. Truth may be written as text, as Microsoft Entra ID does: "False".
func scimSimple(a scimAttribute, v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	s, text := v.(string)
	if a.Type != "boolean" {
		if !text {
			return nil, fmt.Errorf("%s is a text", a.Name)
		}
		if s == "" {
			return nil, nil
		}
		return s, nil
	}
	b, ok := v.(bool)
	if text && (strings.EqualFold(s, "true") || strings.EqualFold(s, "false")) {
		b, ok = strings.EqualFold(s, "true"), true
	}
	if !ok {
		return nil, fmt.Errorf("%s is true or false", a.Name)
	}
	return b, nil
}

// readUser is the user that a resource of kept attributes tells of. Without active they are; without emails a userName that is one counts.
func readUser(r map[string]any, u store.DirectoryUser) store.DirectoryUser {
	text := func(m map[string]any, name string) string { s, _ := m[name].(string); return s }
	name, _ := r["name"].(map[string]any)
	u.UserName, u.External, u.Display = text(r, "userName"), text(r, "externalId"), text(r, "displayName")
	u.Formatted, u.Given, u.Family = text(name, "formatted"), text(name, "givenName"), text(name, "familyName")
	u.Active, u.Emails = r["active"] != false, nil
	list, _ := r["emails"].([]any)
	for _, one := range list {
		if m, ok := one.(map[string]any); ok && text(m, "value") != "" {
			u.Emails = append(u.Emails, store.DirectoryEmail{Value: text(m, "value"), Type: text(m, "type"), Primary: truth(m["primary"])})
		}
	}
	if len(u.Emails) == 0 && strings.Contains(u.UserName, "@") {
		u.Emails = []store.DirectoryEmail{{Value: u.UserName}}
	}
	return u
}

func truth(v any) *bool {
	if b, ok := v.(bool); ok {
		return &b
	}
	return nil
}

// readGroup is the group that a resource tells of, and the ids of its members.
func readGroup(r map[string]any, g store.DirectoryGroup) (store.DirectoryGroup, []string) {
	g.Display, _ = r["displayName"].(string)
	g.External, _ = r["externalId"].(string)
	var members []string
	list, _ := r["members"].([]any)
	seen := map[string]bool{}
	for _, one := range list {
		if m, ok := one.(map[string]any); ok {
			if id, _ := m["value"].(string); !seen[id] {
				seen[id] = true
				members = append(members, id)
			}
		}
	}
	return g, members
}

// plainJSON is v as JSON's own values.
func plainJSON(v any) (m map[string]any) {
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		panic(err) // our own values always encode
	}
	return m
}
