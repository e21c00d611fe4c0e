// Package web has the pages that people see, and the console's files, when there are any.
package web

import "embed"

// Files holds web/dist. Without a build of the console it holds only a marker,
// so that the binary needs no npm.
//
//go:embed all:dist
var Files embed.FS
