package datebook

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/teambition/rrule-go"
)

// TestDaily: a rule of days has the occurrences that the library says it has.
func TestDaily(t *testing.T) {
	for _, text := range []string{
		"FREQ=DAILY", "FREQ=DAILY;INTERVAL=3", "FREQ=DAILY;INTERVAL=400", "FREQ=DAILY;COUNT=1234", "FREQ=DAILY;UNTIL=20101224T090000Z", "FREQ=DAILY;UNTIL=19500101T000000Z", "FREQ=DAILY;BYDAY=MO,FR;BYHOUR=8,17", "FREQ=DAILY;BYDAY=SU",
		"FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29", "FREQ=DAILY;BYMONTHDAY=-1,15", "FREQ=DAILY;BYMONTHDAY=-31", "FREQ=DAILY;INTERVAL=11;BYMONTHDAY=13;BYDAY=FR", "FREQ=DAILY;BYMONTH=3;COUNT=70;BYHOUR=3,1,2;BYSETPOS=-1", "FREQ=DAILY;BYHOUR=0,12;BYMINUTE=30,0;BYSETPOS=4,1,-1,9",
		"FREQ=DAILY;BYHOUR=8;BYSECOND=59,1", "FREQ=DAILY;BYHOUR=25", "FREQ=DAILY;BYHOUR=9,9;COUNT=3", "FREQ=DAILY;BYDAY=2MO,-1TU;BYMONTH=12,1", "FREQ=DAILY;WKST=SU;INTERVAL=2;COUNT=9",
	} {
		for _, begin := range []time.Time{time.Date(1999, 1, 31, 9, 0, 0, 0, time.UTC), time.Date(2000, 2, 29, 0, 0, 0, 0, time.UTC), time.Date(2001, 12, 30, 23, 59, 59, 0, time.UTC)} {
			o := rule(text)
			if o == nil {
				t.Logf("%s is not followed", text)
				continue
			}
			to := time.Date(2045, 7, 3, 12, 0, 0, 0, time.UTC)
			o.Dtstart = begin
			var want []time.Time
			if r, err := rrule.NewRRule(*o); err == nil {
				want = r.Between(begin, to, true)
			}
			got := slices.Collect(occurrences(*o, to))
			if !slices.EqualFunc(got, want, time.Time.Equal) {
				t.Errorf("%s from %s: %d occurrences, want %d: %s", text, begin, len(got), len(want), differ(got, want))
			}
		}
	}
	for _, text := range []string{"FREQ=DAILY;BYWEEKNO=3", "FREQ=DAILY;BYYEARDAY=3", "FREQ=DAILY;BYEASTER=1"} {
		if rule(text) != nil {
			t.Errorf("%s is followed", text)
		}
	}
}

func differ(a, b []time.Time) string {
	for i := range min(len(a), len(b)) {
		if !a[i].Equal(b[i]) {
			return fmt.Sprintf("at %d there is %s, not %s", i, a[i], b[i])
		}
	}
	return "one has more"
}

// TestRuleOfNever: a rule of days that never comes, or seldom, is given up after so many days that were looked at, not after all that there are.
func TestRuleOfNever(t *testing.T) {
	for text, want := range map[string]int{
		"FREQ=DAILY;BYMONTH=2;BYMONTHDAY=31": maxDays, "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=31;COUNT=2": maxDays, "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;BYDAY=MO;COUNT=900": maxDays, "FREQ=DAILY;BYSETPOS=300": maxDays,
		"FREQ=DAILY;COUNT=5": 5, "FREQ=DAILY;INTERVAL=10000;BYMONTH=2;BYMONTHDAY=31": 366,
	} {
		o := rule(text)
		o.Dtstart, o.Until = time.Date(2, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9998, 1, 1, 0, 0, 0, 0, time.UTC)
		looked := 0
		for range daily(*o, &looked) {
		}
		if looked != want {
			t.Errorf("%s: %d days were looked at, want %d", text, looked, want)
		}
	}
}
