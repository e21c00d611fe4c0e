package policy

import "fmt"

// hijacked is the pack against agents that obey what they read.
func hijacked() Pack {
	const agents = "(principal is Lanyard::Agent || principal is Lanyard::OAuthClient)"
	ask := func(id, description, when string) Guardrail {
		return Guardrail{ID: "hijack-" + id, Description: description,
			Cedar: fmt.Sprintf("@approve(\"owner\")\nforbid (principal, action, resource)\nwhen { %s && %s };\n", agents, when)}
	}
	return Pack{Name: "hijack", For: "What an agent does because of something that it read, and not because its user said so, waits for its owner.",
		Stops: []string{"It sends, shares and pays nothing to whom only strangers' text named, without its owner's yes.", "It opens no address and passes on no link that only strangers' text named, without it.",
			"It changes nothing that its user's words do not ask for, and no permissions, passwords or rules on its own, without it."}, Guardrails: []Guardrail{
			ask("destination", "What an agent sends, shares or pays goes to whom its user, the directory or a record that the user named says.",
				`context.effect != "read" && context.destinations.containsAny(["colleague", "record", "content", "unseen"])`),
			ask("fetch", "An agent opens addresses that its user, the directory or a colleague gave it.",
				`context.effect == "read" && context.destinations.containsAny(["record", "content", "unseen"])`),
			ask("link", "An agent hands on no link and no address that only strangers' text named.",
				`context.effect != "read" && context.links.containsAny(["content", "unseen"])`),
			ask("unasked", "An agent changes something in the way that its user's words ask for.",
				`!context.meant`),
			ask("object", "An agent changes nothing that strangers' text pointed it to.",
				`context.effect != "read" && context.objects.containsAny(["content", "unseen"])`),
			ask("privilege", "An agent sets permissions, passwords, roles and rules as its user said.",
				`context.effect != "read" && context.privileges.containsAny(["listed", "colleague", "record", "content", "unseen"])`),
		}}
}
