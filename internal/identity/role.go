package identity

import (
	"fmt"
	"slices"
)

// Role is what a person is to Lanyard: it says what they may do at the console and over REST.
type Role string

const (
	RoleAdmin    Role = "admin"    // everything
	RoleSecurity Role = "security" // sees everything; stops things, and keeps the guardrails
	RoleOperator Role = "operator" // sees everything; runs identities, upstreams and tasks
	RoleOwner    Role = "owner"    // sees and controls what is theirs: every person who is an owner has it
	RoleAuditor  Role = "auditor"  // sees everything, changes nothing
)

// Roles are all that there are, the one that may do the most first.
var Roles = []Role{RoleAdmin, RoleSecurity, RoleOperator, RoleOwner, RoleAuditor}

// CheckRoles says why a list of roles cannot be given to anybody, or nil.
func CheckRoles(list []Role) error {
	for _, r := range list {
		if !slices.Contains(Roles, r) {
			return fmt.Errorf("%q is no role; there is admin, security, operator, owner and auditor", string(r))
		}
	}
	return nil
}
