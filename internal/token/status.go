package token

import (
	"bytes"
	"compress/zlib"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	// TypStatusList is the typ of a status list token (draft-ietf-oauth-status-list section 5.1).
	TypStatusList = "statuslist+jwt"
	// TypEvent is the typ of a security event token (RFC 8417 section 2.3).
	TypEvent = "secevent+jwt"
	// StatusPlaces is how many places a status list of ours has.
	StatusPlaces = 1 << 16

	maxStatusList = 64 << 10 // bytes of one, signed; of its bits, unpacked
)

// Place is where a status list says whether a token is still good. The zero value is none.
type Place struct {
	Index int    `json:"idx"`
	URI   string `json:"uri"`
}

// placed is the status claim (section 6.2).
type placed struct {
	List Place `json:"status_list"`
}

// StatusList is a status list as it is signed: a bit for each place, set when what has that place is no longer good.
type StatusList struct {
	Bits    []byte // least significant first in each (section 4.1)
	Issued  time.Time
	Expires time.Time     // it says nothing from then on
	TTL     time.Duration // for how long to use it before asking for another
}

// Good reports whether the token at a place is still good. A place that is not in the list is an error.
func (l StatusList) Good(index int) (bool, error) {
	if index < 0 || index/8 >= len(l.Bits) {
		return false, fmt.Errorf("the status list has no place %d", index)
	}
	return l.Bits[index/8]>>(index%8)&1 == 0, nil
}

// SignStatusList signs what l says, as the list that is at uri.
func (s *Signer) SignStatusList(uri string, l StatusList) (string, error) {
	var packed bytes.Buffer
	z, err := zlib.NewWriterLevel(&packed, zlib.BestCompression)
	if err == nil {
		_, err = z.Write(l.Bits)
		err = errors.Join(err, z.Close())
	}
	if err != nil {
		return "", fmt.Errorf("sign status list: %w", err)
	}
	type bits struct {
		Bits int    `json:"bits"`
		List string `json:"lst"`
	}
	return s.Sign(TypStatusList, struct {
		Subject string `json:"sub"`
		Issued  int64  `json:"iat"`
		Expires int64  `json:"exp"`
		TTL     int64  `json:"ttl"`
		List    bits   `json:"status_list"`
	}{uri, l.Issued.Unix(), l.Expires.Unix(), int64(l.TTL / time.Second), bits{1, strict64.EncodeToString(packed.Bytes())}}, l.Issued)
}

// Sign signs claims as what typ says, which is nothing that this package judges by another name, with the key that is current at now.
func (s *Signer) Sign(typ string, claims any, now time.Time) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("sign %s: %w", typ, err)
	}
	at, err := s.current(now)
	if err != nil {
		return "", fmt.Errorf("sign %s: %w", typ, err)
	}
	raw := strict64.AppendEncode([]byte(s.keys[at].header(typ)), payload)
	return string(strict64.AppendEncode(append(raw, '.'), ed25519.Sign(s.keys[at].private, raw))), nil
}

// current is which key signs what is made at now.
func (s *Signer) current(now time.Time) (int, error) {
	at := slices.IndexFunc(s.keys, func(k SigningKey) bool { return !now.Before(k.From.Truncate(time.Second)) })
	if at < 0 {
		return 0, errors.New("no key is current")
	}
	return at, nil
}

// StatusList reads the list that is at uri, if one of our keys signed it and it says something at now. The error is an
// *Error with Code InvalidToken.
func (v *Verifier) StatusList(raw, uri string, now time.Time) (StatusList, error) {
	l, err := v.statusList(raw, uri, now)
	if err != nil {
		return StatusList{}, &Error{InvalidToken, "status list " + err.Error()}
	}
	return l, nil
}

func (v *Verifier) statusList(raw, uri string, now time.Time) (l StatusList, err error) {
	o, err := v.signed(raw, TypStatusList, maxStatusList)
	if err != nil {
		return l, err
	}
	r := reader{object: o}
	sub := r.text("sub", true)
	l.Issued, l.Expires, l.TTL = r.date("iat", true), r.date("exp", true), time.Duration(r.whole("ttl"))*time.Second
	inner, err := parseObject(o.value("status_list"))
	list := reader{object: inner}
	bits, packed := list.whole("bits"), list.text("lst", true)
	switch {
	case r.err != nil:
		return l, r.err
	case err != nil || list.err != nil || bits != 1:
		return l, errors.New("has no list of single bits")
	case sub != uri:
		return l, errors.New("is another one")
	case !now.Before(l.Expires) || l.Issued.After(now.Add(Skew)):
		return l, errors.New("is not of now")
	}
	b, err := decode64(packed)
	if err != nil {
		return l, err
	}
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		return l, errors.New("is not packed with zlib")
	}
	if l.Bits, err = io.ReadAll(io.LimitReader(z, maxStatusList+1)); err != nil || len(l.Bits) > maxStatusList {
		return l, errors.New("is damaged, or too long")
	}
	return l, nil
}

// place reads the status claim. Other ways to say a status mean nothing to us.
func (r *reader) place() (p Place) {
	v := r.value("status")
	if v == nil {
		return p
	}
	o, err := parseObject(v)
	if err != nil {
		r.fail("status", "is not an object")
		return p
	}
	inner := o.value("status_list")
	if inner == nil {
		return p
	}
	o, err = parseObject(inner)
	list := reader{object: o}
	p = Place{int(list.whole("idx")), list.text("uri", true)}
	if err != nil || list.err != nil {
		r.fail("status", "has no place in a status list")
	}
	return p
}

// whole reads a whole number of at most nine digits.
func (r *reader) whole(name string) (n int64) {
	v := r.value(name)
	if len(v) == 0 || len(v) > 9 {
		r.fail(name, "is not a whole number, or too large")
		return 0
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			r.fail(name, "is not a whole number")
			return 0
		}
		n = 10*n + int64(c-'0')
	}
	return n
}
