package layer

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hours are times of the week: Mon-Fri 08:00-18:00 Europe/Berlin. nil is always.
type hours struct {
	days     [7]bool
	from, to int // minutes of the day
	zone     *time.Location
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

var hoursForm = regexp.MustCompile(`^(?:([A-Za-z,-]+) )?(\d\d):(\d\d)-(\d\d):(\d\d) (\S+)$`)

func parseHours(s string) (*hours, error) {
	if s == "" {
		return nil, nil
	}
	const want = "write it as in Mon-Fri 08:00-18:00 Europe/Berlin"
	m := hoursForm.FindStringSubmatch(s)
	if m == nil {
		return nil, fmt.Errorf("%q: %s", s, want)
	}
	h := &hours{days: [7]bool{true, true, true, true, true, true, true}}
	if m[1] != "" {
		h.days = [7]bool{}
		for part := range strings.SplitSeq(strings.ToLower(m[1]), ",") {
			first, last, ok := strings.Cut(part, "-")
			if !ok {
				last = first
			}
			a, b := slices.Index(weekdays, first), slices.Index(weekdays, last)
			if a < 0 || b < 0 {
				return nil, fmt.Errorf("%q is no day of the week; %s", part, want)
			}
			for ; ; a = (a + 1) % 7 {
				if h.days[a] = true; a == b {
					break
				}
			}
		}
	}
	var n [4]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[2+i]) // two digits
	}
	h.from, h.to = n[0]*60+n[1], n[2]*60+n[3]
	if n[1] > 59 || n[3] > 59 || h.to > 24*60 || h.from >= h.to {
		return nil, fmt.Errorf("%q: the hours are to be from 00:00 to 24:00, the earlier first; %s", s, want)
	}
	var err error
	if h.zone, err = time.LoadLocation(m[6]); err != nil || m[6] == "Local" {
		return nil, fmt.Errorf("%q is no time zone that is known here; %s", m[6], want)
	}
	return h, nil
}

func (h *hours) hold(now time.Time) bool {
	if h == nil {
		return true
	}
	t := now.In(h.zone)
	minute := t.Hour()*60 + t.Minute()
	return h.days[t.Weekday()] && minute >= h.from && minute < h.to
}
