package store

import (
	"errors"
	"strconv"
	"strings"

	"github.com/lanyard-dev/lanyard/internal/identity"
	"github.com/lanyard-dev/lanyard/internal/policy"
)

// Belongings are what is shown with an identity, of all identities of a page at one time: a question for each of them
// would cost the way to the database and back a hundred times.
type Belongings struct {
	Credentials map[identity.ID][]identity.Credential // in the order they were made, revoked ones too
	Grants      map[identity.ID][]policy.Grant        // by id
	Owners      map[identity.OwnerID]identity.Owner
	Children    map[identity.ID]int // that live
}

// Belongings returns those of some identities; children are counted up to limit.
func (tx *Tx) Belongings(of []identity.Identity, limit int) (b Belongings, err error) {
	var ids, owners []string
	for _, i := range of {
		ids, owners = append(ids, i.ID.String()), append(owners, string(i.Owner))
	}
	b = Belongings{map[identity.ID][]identity.Credential{}, map[identity.ID][]policy.Grant{}, map[identity.OwnerID]identity.Owner{}, map[identity.ID]int{}}
	err1 := among(tx, scanCredential, credentialColumns+"WHERE identity IN (?) ORDER BY identity, id", ids, nil, func(c identity.Credential) {
		b.Credentials[c.Identity] = append(b.Credentials[c.Identity], c)
	})
	err2 := among(tx, doc[policy.Grant], "SELECT doc FROM grants WHERE identity IN (?) ORDER BY identity, id", ids, nil, func(g policy.Grant) {
		b.Grants[g.Identity] = append(b.Grants[g.Identity], g)
	})
	err3 := among(tx, doc[identity.Owner], "SELECT doc FROM owners WHERE id IN (?)", owners, nil, func(o identity.Owner) { b.Owners[o.ID] = o })
	type living struct {
		id identity.ID
		n  int
	}
	err4 := among(tx, func(row scanner) (l living, err error) {
		var id string
		if err = row.Scan(&id, &l.n); err == nil {
			l.id, err = identity.ParseID(id)
		}
		return l, err
	}, `SELECT p.id, (SELECT COUNT(*) FROM (SELECT 1 FROM identities c WHERE c.parent = p.id AND c.state IN ('active', 'suspended') AND c.expires > $1 LIMIT $2) living)
		FROM identities p WHERE p.id IN (?)`, ids, []any{micros(tx.now), limit}, func(l living) { b.Children[l.id] = l.n })
	return b, errors.Join(err1, err2, err3, err4)
}

// OwnersAfter lists at most limit owners by id, those after one.
func (tx *Tx) OwnersAfter(after identity.OwnerID, limit int) ([]identity.Owner, error) {
	return list(tx, doc[identity.Owner], "SELECT doc FROM owners WHERE id > $1 ORDER BY id LIMIT $2", string(after), limit)
}

// CountOwned counts the identities of some owners that are not retired.
func (tx *Tx) CountOwned(of []identity.Owner) (map[identity.OwnerID]int, error) {
	var owners []string
	for _, o := range of {
		owners = append(owners, string(o.ID))
	}
	type owned struct {
		owner identity.OwnerID
		n     int
	}
	counts := map[identity.OwnerID]int{}
	return counts, among(tx, func(row scanner) (o owned, err error) { return o, row.Scan(&o.owner, &o.n) },
		"SELECT owner, COUNT(*) FROM identities WHERE owner IN (?) AND state <> 'retired' GROUP BY owner", owners, nil, func(o owned) { counts[o.owner] = o.n })
}

// among goes through what a query finds, in which ? stands for keys, behind the arguments before. The text
// is one of a few, whatever the number of keys: databases remember how they answer one.
func among[T any](tx *Tx, scan func(scanner) (T, error), query string, keys []string, before []any, each func(T)) error {
	if len(keys) == 0 {
		return nil
	}
	size := 1
	for size < len(keys) {
		size *= 2
	}
	args := before
	var marks strings.Builder
	for n := range size {
		if n > 0 {
			marks.WriteString(", ")
		}
		args = append(args, keys[min(n, len(keys)-1)])
		marks.WriteString("$" + strconv.Itoa(len(args)))
	}
	for v, err := range rows(tx, scan, strings.Replace(query, "?", marks.String(), 1), args...) {
		if err != nil {
			return err
		}
		each(v)
	}
	return nil
}
