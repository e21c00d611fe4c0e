// Package web embeds the console's files.
package web

import "embed"

// Files holds web/dist. Without a build of the console it holds only a marker,
// so that the binary needs no npm.
//
//go:embed all:dist
var Files embed.FS
