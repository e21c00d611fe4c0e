package policy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go/types"
)

// Number is an argument that may have digits after the point, an amount of money for
// one, as it was written (JSON). Cedar has no floating point: its decimal has at most four
// digits after the point and fifteen before it. A number that does not fit is no decimal
// to a policy: a grant that looks at it does not permit and a guardrail that does forbids,
// whatever they compare it with, while those that do not look at it stand.
type Number string

// decimal is the same number, exactly, in the form that Cedar reads.
func (n Number) decimal() (types.Decimal, error) {
	whole, rest, _ := strings.Cut(string(n), ".")
	rest = strings.TrimRight(rest, "0")
	if rest == "" {
		rest = "0"
	}
	return types.ParseDecimal(whole + "." + rest)
}

// value is the number as Cedar sees it.
func (n Number) value() types.Value {
	if d, err := n.decimal(); err == nil {
		return d
	}
	return types.String(n)
}

// bound is a limit of a condition as Cedar is to read it, exactly as it was given.
func bound(v float64, kind string) (string, error) {
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if digits := strings.Trim(strings.ReplaceAll(s, ".", ""), "-0"); len(digits) > 15 {
		return "", fmt.Errorf("%s has more than 15 digits; write Cedar for it", s)
	}
	switch kind {
	case "integer":
		if strings.Contains(s, ".") {
			return "", fmt.Errorf("%s is no whole number, and the argument is one", s)
		}
		return s, nil
	case "number":
		return literal(s)
	}
	return "", fmt.Errorf("min and max are for numbers, and this argument is of type %s", kind)
}

// literal is a number in Cedar.
func literal(s string) (string, error) {
	d, err := Number(s).decimal()
	if err != nil {
		return "", fmt.Errorf("%q: %w", s, errNumber)
	}
	return string(d.MarshalCedar()), nil
}

var errNumber = errors.New("a number has at most four digits after the point and fifteen before it, and no exponent")
