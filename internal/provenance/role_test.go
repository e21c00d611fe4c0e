package provenance

import "testing"

// TestRoles: what arguments are for, by what schemas of many systems call them.
func TestRoles(t *testing.T) {
	for _, x := range []struct {
		p    Parameter
		want Role
	}{
		{Parameter{Name: "to", Type: "string"}, Destination},
		{Parameter{Name: "bcc", Type: "strings"}, Destination},
		{Parameter{Name: "recipientIban", Type: "string"}, Destination},
		{Parameter{Name: "account_number", Type: "integer"}, Destination},
		{Parameter{Name: "attendees.email"}, Destination},
		{Parameter{Name: "attendees.displayName"}, Destination},
		{Parameter{Name: "channel_id", Type: "string"}, Destination},
		{Parameter{Name: "user_id", Type: "integer"}, Destination},
		{Parameter{Name: "callback", Type: "string"}, Destination},
		{Parameter{Name: "where", Type: "string", Format: "email"}, Destination},
		{Parameter{Name: "x", Type: "string", Description: "The URL to post to"}, Destination},
		{Parameter{Name: "email_id", Type: "string"}, Object},
		{Parameter{Name: "file_id", Type: "string"}, Object},
		{Parameter{Name: "hotel", Type: "string"}, Object},
		{Parameter{Name: "body", Type: "string"}, Text},
		{Parameter{Name: "event_description", Type: "string"}, Text},
		{Parameter{Name: "location", Type: "string"}, Text},
		{Parameter{Name: "permission", Type: "string"}, Privilege},
		{Parameter{Name: "new_password", Type: "string"}, Privilege},
		{Parameter{Name: "is_public", Type: "boolean"}, Privilege},
		{Parameter{Name: "start_time", Type: "string"}, Plain},
		{Parameter{Name: "amount", Type: "number"}, Plain},
		{Parameter{Name: "guests", Type: "integer"}, Plain},
	} {
		if got, _ := x.p.role(); got != x.want {
			t.Errorf("%+v is %s, want %s", x.p, got, x.want)
		}
	}
}

// TestEffects: what tools do, by their names, else by what is said of them; what an operator says overrules both.
func TestEffects(t *testing.T) {
	for _, x := range []struct {
		name, summary string
		reads         bool
		said, want    Effect
	}{
		{"tools.send_email", "", false, "", Sends},
		{"gmail.users.messages.send", "", false, "", Sends},
		{"createEvent", "", false, "", Creates},
		{"tools.delete_file", "", false, "", Deletes},
		{"tools.list_things", "", false, "", Reads},
		{"tools.transfer_money", "", false, "", Pays},
		{"tools.invite_user", "", false, "", Shares},
		{"tools.reschedule", "", false, "", Changes},
		{"tools.foo", "Removes the foo.", false, "", Deletes},
		{"tools.balance", "Returns the balance of the account.", false, "", Reads},
		{"tools.foo", "Does foo.", false, "", Acts},
		{"tools.foo", "", true, "", Reads},
		{"tools.get_email", "", false, "", Reads},
		{"tools.make_payment", "", false, "", Pays},
		{"tools.create_refund", "", false, "", Pays},
		{"tools.create_event", "", false, "", Creates},
		{"tools.open_link", "", false, "", Reads},
		{"tools.open_ticket", "", false, "", Creates},
		{"tools.get_or_create_user", "", false, "", Creates},
		{"tools.read_and_delete", "", false, "", Deletes},
		{"tools.find_and_share", "", false, "", Shares},
		{"tools.list_open_orders", "", false, "", Reads},
		{"tools.send_email", "", false, Reads, Reads},
	} {
		if got := Describe(x.name, x.summary, x.reads, nil, x.said, nil).Effect; got != x.want {
			t.Errorf("%+v does %s", x, got)
		}
	}
	over := Describe("tools.note", "", false, []Parameter{{Name: "note", Type: "string"}}, "", map[string]Role{"note": Destination})
	if r := over.Role("note", "x"); r != Destination {
		t.Errorf("overruled, and it is %s", r)
	}
	for _, x := range []struct {
		t           *Tool
		name, value string
		want        Role
	}{
		{tool("tell_them", "who"), "who", "eve@evil.example", Destination},
		{tool("tell_them", "who"), "who", "eve", Object},
		{tool("move_it", "where"), "where", "GB29 NWBK 6016 1331 9268 19", Destination},
		{tool("get_it", "page"), "page", "HTTPS://evil.example", Destination},
		{tool("get_it", "page"), "page", "2", Plain},
		{tool("get_it", "query"), "query", "https://evil.example", Text},
		{tool("get_it", "whose"), "whose", "eve@evil.example", Object},
		{Describe("tools.move", "", false, []Parameter{{Name: "who"}}, "", map[string]Role{"who": Plain}), "who", "eve@evil.example", Plain},
	} {
		if got := x.t.Role(x.name, x.value); got != x.want {
			t.Errorf("%s of %s, %s, is %s, want %s", x.name, x.t.Name, x.value, got, x.want)
		}
	}
}

// TestMeant: which kinds of things a user asks for.
func TestMeant(t *testing.T) {
	for words, want := range map[string]struct{ yes, no string }{
		"Please send Bob the file":                                {"send_email", "delete_email"},
		"Can you pay the bill for me?":                            {"send_money transfer", "delete_payment share_file"},
		"Book a table for two":                                    {"reserve_restaurant create_booking", "send_email"},
		"How many appointments do I have?":                        {"get_appointments", "create_event send_email delete_event"},
		"Move my dentist to Monday":                               {"reschedule_event", "delete_event send_email"},
		"I'd like you to remove him from the list":                {"remove_user", "send_email"},
		"Help me by sending it":                                   {"send_email", "delete_file"},
		"the email that you must not delete":                      {"get_mail", "delete_email send_email"},
		"Read the post that was shared, and the comment below it": {"read_post", "share_post create_comment post_message"},
		"Tell me what is new, and give me the link":               {"get_mail", "send_email share_file"},
		"Tell Bob what is new":                                    {"send_email", "delete_file"},
		"":                                                        {"get_mail", "send_email create_file"},
	} {
		m := New(words)
		for _, list := range []struct {
			names string
			want  bool
		}{{want.yes, true}, {want.no, false}} {
			for _, w := range fields(list.names) {
				if f := m.Judge(house, tool(w), nil); f.Meant != list.want {
					t.Errorf("%q: %s is meant: %v", words, w, f.Meant)
				}
			}
		}
	}
}
