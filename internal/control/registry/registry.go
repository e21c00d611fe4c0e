// Package registry is every change of state.
package registry
