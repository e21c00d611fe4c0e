// check reads histories and says what is wrong with them: go run ./test/fault/check FILE...
package main

import (
	"fmt"
	"os"

	"github.com/lanyard-dev/lanyard/test/fault/history"
)

func main() {
	bad := len(os.Args) < 2
	for _, name := range os.Args[1:] {
		f, err := os.Open(name)
		var lines []history.Line
		if err == nil {
			lines, err = history.Read(f)
			f.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			bad = true
			continue
		}
		found := history.Check(lines)
		for _, f := range found {
			fmt.Println(name+":", f)
		}
		bad = bad || len(found) > 0
		fmt.Printf("%s: %d lines, %d findings\n", name, len(lines), len(found))
	}
	if bad {
		os.Exit(1)
	}
}
