package registry

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// End is when something stops by itself, as people write it: at a time, or
// after a duration from when it is put. The zero End says nothing.
type End struct {
	at   time.Time
	life time.Duration
}

var lifePattern = regexp.MustCompile(`^([1-9][0-9]{0,5})([mhdwy])$`)

var lifeUnits = map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "y": 365 * 24 * time.Hour}

// For is the End that comes so long after something is put.
func For(life time.Duration) End { return End{life: life} }

// At is the End at t.
func At(t time.Time) End { return End{at: t} }

// ParseEnd reads 90m, 12h, 90d, 2w, 1y, a date (its first moment, UTC) or an RFC 3339 time. "" is the zero End.
func ParseEnd(s string) (End, error) {
	if s == "" {
		return End{}, nil
	}
	if m := lifePattern.FindStringSubmatch(s); m != nil {
		n, _ := strconv.Atoi(m[1])
		if life := time.Duration(n) * lifeUnits[m[2]]; life/lifeUnits[m[2]] == time.Duration(n) && life < 200*lifeUnits["y"] {
			return End{life: life}, nil
		}
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 1970 && t.Year() < 2300 {
			return End{at: t.UTC()}, nil
		}
	}
	return End{}, fmt.Errorf("%q is no end: write 90d (or m, h, w, y), a date like 2027-01-31, or an RFC 3339 time", s)
}

// Zero reports whether e says nothing.
func (e End) Zero() bool { return e == End{} }

// From is the time of e for what is put at now.
func (e End) From(now time.Time) time.Time {
	if e.life > 0 {
		return now.Add(e.life).UTC().Truncate(time.Microsecond)
	}
	return e.at.UTC().Truncate(time.Microsecond)
}

// Keep is the time of e for what was created then and ends at current: a duration
// that still runs, and was as long from the start, stays as it is, so that
// putting the same thing twice changes nothing.
func (e End) Keep(created, current, now time.Time) time.Time {
	if e.life > 0 && current.After(now) && !current.After(now.Add(e.life)) && current.Sub(created) >= e.life {
		return current
	}
	return e.From(now)
}
