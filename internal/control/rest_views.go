package control

import (
	"context"

	"github.com/lanyard-dev/lanyard/internal/control/registry"
	"github.com/lanyard-dev/lanyard/internal/control/store"
)

// SavedView is a search in a list, that a person comes back to.
type SavedView struct {
	List  string            `json:"list" enum:"identities,approvals,ledger,tasks,upstreams,owners"`
	Name  string            `json:"name" example:"Expires soon"`
	Query map[string]string `json:"query" doc:"As in the address of the list" example:"{\"needs\":\"expiring\",\"sort\":\"expires\"}"`
}

// ViewInput is PUT /v1/me/views/{name}/{part}.
type ViewInput struct {
	Query map[string]string `json:"query" doc:"As in the address of the list; 20 parts at most"`
}

type viewBody struct {
	Caller
	Name string `path:"name" doc:"Of the list: identities, approvals, ledger, tasks, upstreams or owners" maxLength:"32"`
	Part string `path:"part" doc:"Of the view, as the person calls it; 60 characters at most" maxLength:"256"`
	Body ViewInput
}

type viewPart struct {
	Caller
	Name string `path:"name" doc:"Of the list" maxLength:"32"`
	Part string `path:"part" doc:"Of the view" maxLength:"256"`
}

func (p *Plane) viewRoutes(api door) {
	const tag = "me"
	handle(api, "GET", "/me/views", "list-views", tag, "Searches that the person keeps, by list and name", func(ctx context.Context, in *none) (Page[SavedView], error) {
		if in.visitor == nil {
			return Page[SavedView]{}, errNobody
		}
		return read(ctx, p, func(tx *store.Tx) (Page[SavedView], error) {
			all, err := tx.SavedViews(in.visitor.Person)
			var list []SavedView
			for _, v := range all {
				list = append(list, SavedView(v))
			}
			return page(list), err
		})
	})
	handle(api, "PUT", "/me/views/{name}/{part}", "put-view", tag, "Keep a search in a list, or change it; 50 of each list at most", func(ctx context.Context, in *viewBody) (SavedView, error) {
		if in.visitor == nil {
			return SavedView{}, errNobody
		}
		v := store.SavedView{List: in.Name, Name: in.Part, Query: in.Body.Query}
		_, err := p.do(ctx, in.actor(), func(c *registry.Change) error { return c.PutSavedView(in.visitor.Person, v) })
		return SavedView(v), err
	})
	handle(api, "DELETE", "/me/views/{name}/{part}", "remove-view", tag, "Forget a search", func(ctx context.Context, in *viewPart) (struct{}, error) {
		if in.visitor == nil {
			return struct{}{}, errNobody
		}
		_, err := p.do(ctx, in.actor(), func(c *registry.Change) error { return c.RemoveSavedView(in.visitor.Person, in.Name, in.Part) })
		return struct{}{}, err
	})
}
