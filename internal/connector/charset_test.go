package connector

import "testing"

func TestUTF8(t *testing.T) {
	for kind, want := range map[string]bool{
		"": true, "application/json": true, "application/json; charset=UTF-8": true, `application/json; charset="utf-8"`: true, "application/json; odata.metadata=minimal": true, "application/x-www-form-urlencoded": true,
		"text/plain; charset=iso-8859-1": true, "application/octet-stream; name=a b.pdf": true,
		"application/json; charset=utf-7": false, "application/json; charset=utf-16": false, "application/merge-patch+json; charset=utf-7": false, "application/x-www-form-urlencoded; charset=ibm037": false,
		"application/json; charset=utf-7; charset*=utf-8''utf-8": false, "application/json; charset*=utf-8''utf-8": false, `application/json; x="; charset=utf-7"`: false, "application/json; charset": false, "application/json, text/plain": false, "json": true,
	} {
		if UTF8(kind) != want {
			t.Errorf("%q: %v", kind, !want)
		}
	}
}
