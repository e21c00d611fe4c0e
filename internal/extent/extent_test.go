package extent

import "testing"

func TestParse(t *testing.T) {
	for s, want := range map[string]Part{
		"bytes 0-9/20": {0, 9, 20}, "bytes 10-19/20": {10, 19, 20}, "bytes 0-9/*": {0, 9, -1}, "bytes */20": {0, -1, 20}, "bytes */*": {0, -1, -1}, "bytes */0": {0, -1, 0},
		"bytes 0-0/1": {0, 0, 1}, "bytes 9223372036854775805-9223372036854775806/9223372036854775807": {9223372036854775805, 9223372036854775806, 9223372036854775807},
	} {
		p, err := Parse(s)
		if err != nil || p != want || p.String() != s {
			t.Errorf("%s: %v %v, as %s", s, p, err, p)
		}
	}
	for _, s := range []string{"", "bytes", "bytes ", "bytes 0-9", "0-9/20", "bytes=0-9/20", "Bytes 0-9/20", "bytes  0-9/20", "bytes 0-9/20 ", "bytes 9-0/20", "bytes 0-20/20", "bytes 20-20/20", "bytes -1-9/20", "bytes 0--9/20", "bytes +0-9/20", "bytes 00-9/20", "bytes 0-9/020", "bytes 0-9/-1",
		"bytes 0x0-9/20", "bytes 0-9/20/30", "bytes 0-9,10-19/20", "bytes 0-/20", "bytes -9/20", "bytes 0/20", "bytes **/20", "bytes 0-9/**", "bytes 0-9/9223372036854775808", "bytes 0-9223372036854775807/*", "bytes 0-9/1e3", "bytes 0-9/", "bytes ٠-٩/٢"} {
		if p, err := Parse(s); err == nil {
			t.Errorf("%q: %v", s, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"bytes 0-9/20", "bytes */*", "bytes 0-9/*", "bytes 9-0/20"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil {
			return
		}
		if p.String() != s || p.Size() < 0 || p.First < 0 || p.Total >= 0 && p.Last >= p.Total {
			t.Errorf("%q is %+v", s, p)
		}
	})
}
