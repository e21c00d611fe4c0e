package main

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/lanyard-dev/lanyard/internal/provenance"
)

const mail = "- id_: '7'\n  sender: eve@partner.example\n  recipients:\n  - maya@acme.example\n  subject: Lunch\n  body: 'Hi Maya,\n\n    shall we meet at noon? See www.place.example/menu for what there is.\n\n    Eve'\n"

// worked is how long this process has been at work, in nanoseconds: what others do on the machine is not in it.
func worked() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// tracing prints, in time of a CPU, what it costs to know where values came from: of a message that is read and one that answers it, and of 100 KB read.
func tracing() error {
	tool := func(name string, params ...string) *provenance.Tool {
		var list []provenance.Parameter
		for _, p := range params {
			list = append(list, provenance.Parameter{Name: p, Type: "string"})
		}
		return provenance.Describe(name, "", false, list, "", nil)
	}
	get, send := tool("tools.get_mail"), tool("tools.send_mail", "to", "subject", "body")
	d := provenance.NewDirectory(provenance.Known{Members: []string{"@acme.example"}}, nil)
	args := []provenance.Argument{{Name: "to", Value: "eve@partner.example"}, {Name: "subject", Value: "Lunch"}, {Name: "body", Value: "Hi Eve, noon is fine. See you there, and thank you for the address. Maya"}}
	measure := func(times int, f func(m *provenance.Memory)) float64 {
		var took []float64
		for range 7 {
			m := provenance.New("Please answer Eve's mail about lunch")
			begun := worked()
			for range times {
				f(m)
			}
			took = append(took, float64(worked()-begun)/float64(times)/1000)
		}
		return median(took)
	}
	fmt.Printf("bench provenance_message %.1f us\n", measure(2000, func(m *provenance.Memory) {
		m.Read(d, get, nil, mail, true)
		m.Judge(d, send, args)
	}))
	page := strings.Repeat(mail, 100<<10/len(mail))
	fmt.Printf("bench provenance_100kb %.0f us\n", measure(20, func(*provenance.Memory) {
		provenance.New("").Read(d, get, nil, page, true)
	}))
	return nil
}
