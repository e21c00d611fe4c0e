package datebook

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-ical"
	"github.com/go-json-experiment/json"

	"github.com/lanyard-dev/lanyard/internal/bridge"
)

// maxCalendars is of how many calendars the free hours are asked for at once.
const maxCalendars = 50

// freeBusy says when calendars of the account have something in them. Of others' it knows nothing.
func (d *Datebook) freeBusy(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in struct {
		Min   time.Time `json:"timeMin"`
		Max   time.Time `json:"timeMax"`
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	b, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(b, &in) != nil || in.Min.IsZero() || !in.Min.Before(in.Max) || len(in.Items) > maxCalendars {
		return nil, bridge.Invalid("Invalid value: timeMin and timeMax, a time after it, and items, at most %d calendars, each with an id.", maxCalendars)
	}
	calendars := object{}
	for _, item := range in.Items {
		c, err := d.calendar(r.Context(), item.ID)
		if err == bridge.ErrNone {
			calendars[item.ID] = object{"errors": []any{object{"domain": "global", "reason": "notFound"}}, "busy": []any{}}
			continue
		}
		if err != nil {
			return nil, err
		}
		entries, err := d.entries(r.Context(), c, in.Min, in.Max)
		if err != nil {
			return nil, err
		}
		var spans [][2]time.Time
		for _, e := range entries {
			list, err := e.between(r.Context(), in.Min, in.Max)
			if err != nil {
				return nil, err
			}
			for _, o := range list {
				if d.blocks(o.event) {
					spans = append(spans, [2]time.Time{later(o.begin.time(), in.Min), earlier(o.end.time(), in.Max)})
				}
			}
		}
		calendars[item.ID] = object{"busy": merge(spans)}
	}
	return object{"kind": "calendar#freeBusy", "timeMin": in.Min.UTC().Format(time.RFC3339), "timeMax": in.Max.UTC().Format(time.RFC3339), "calendars": calendars}, nil
}

// blocks reports whether an event takes time of the account's.
func (d *Datebook) blocks(c *ical.Component) bool {
	if strings.EqualFold(text(c, ical.PropTransparency), "TRANSPARENT") || strings.EqualFold(text(c, ical.PropStatus), "CANCELLED") {
		return false
	}
	return !slices.ContainsFunc(c.Props.Values(ical.PropAttendee), func(p ical.Prop) bool {
		return strings.EqualFold(address(p), d.Address) && strings.EqualFold(p.Params.Get(ical.ParamParticipationStatus), "DECLINED")
	})
}

// merge joins spans that meet.
func merge(spans [][2]time.Time) []any {
	slices.SortFunc(spans, func(a, b [2]time.Time) int { return a[0].Compare(b[0]) })
	var joined [][2]time.Time
	for _, s := range spans {
		if n := len(joined); n > 0 && !s[0].After(joined[n-1][1]) {
			joined[n-1][1] = later(joined[n-1][1], s[1])
		} else if s[0].Before(s[1]) {
			joined = append(joined, s)
		}
	}
	list := []any{}
	for _, s := range joined {
		list = append(list, object{"start": s[0].UTC().Format(time.RFC3339), "end": s[1].UTC().Format(time.RFC3339)})
	}
	return list
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
