package manifest

import (
	"go.yaml.in/yaml/v3"

	"github.com/lanyard-dev/lanyard/internal/layer"
)

// layers reads what a grant holds back. Where each field stands is noted under its name, as in layers.time.days.
func (r *reader) layers(n *yaml.Node, at map[string]place) *layer.Layers {
	l := &layer.Layers{}
	list := func(field string, to *[]string) func(*yaml.Node) {
		return func(n *yaml.Node) { at[field], *to = r.at(n), r.list(n, field) }
	}
	text := func(field string, to *string) func(*yaml.Node) {
		return func(n *yaml.Node) { at[field], *to = r.at(n), r.text(n, field) }
	}
	within := func(field string, to fields) func(*yaml.Node) {
		return func(n *yaml.Node) {
			at[field] = r.at(n)
			r.object(n, field, to)
		}
	}
	r.object(n, "layers", fields{
		"show": text("layers.show", &l.Show),
		"contacts": within("layers.contacts", fields{
			"see":   list("layers.contacts.see", &l.Contacts.See),
			"write": list("layers.contacts.write", &l.Contacts.Write),
			"never": list("layers.contacts.never", &l.Contacts.Never),
		}),
		"time": within("layers.time", fields{
			"days":  func(n *yaml.Node) { at["layers.time.days"], l.Time.Days = r.at(n), r.integer(n, "layers.time.days") },
			"hours": text("layers.time.hours", &l.Time.Hours),
		}),
		"within": within("layers.within", fields{
			"labels":    list("layers.within.labels", &l.Within.Labels),
			"folders":   list("layers.within.folders", &l.Within.Folders),
			"calendars": list("layers.within.calendars", &l.Within.Calendars),
			"drives":    list("layers.within.drives", &l.Within.Drives),
		}),
		"reduce": within("layers.reduce", fields{
			"mask":        list("layers.reduce.mask", &l.Reduce.Mask),
			"patterns":    list("layers.reduce.patterns", &l.Reduce.Patterns),
			"strip":       list("layers.reduce.strip", &l.Reduce.Strip),
			"attachments": list("layers.reduce.attachments", &l.Reduce.Attachments),
		}),
	})
	return l
}
