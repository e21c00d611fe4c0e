package store

// SavedView is what a person looks at again and again in a list of the console.
type SavedView struct {
	List  string            `json:"list"`
	Name  string            `json:"name"`
	Query map[string]string `json:"query"`
}

// PutSavedView keeps a view of a person's, or changes one.
func (tx *Tx) PutSavedView(person string, v SavedView) error {
	tx.changed = true
	_, err := tx.exec("INSERT INTO views (person, list, name, doc) VALUES ($1, $2, $3, $4) ON CONFLICT (person, list, name) DO UPDATE SET doc = excluded.doc", person, v.List, v.Name, encode(v))
	return err
}

// SavedViews lists those of a person, by list and name.
func (tx *Tx) SavedViews(person string) ([]SavedView, error) {
	return list(tx, doc[SavedView], "SELECT doc FROM views WHERE person = $1 ORDER BY list, name", person)
}

// DeleteSavedView removes one of a person's, or ErrNotFound.
func (tx *Tx) DeleteSavedView(person, list, name string) error {
	tx.changed = true
	n, err := tx.exec("DELETE FROM views WHERE person = $1 AND list = $2 AND name = $3", person, list, name)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// EndSavedViews removes those of a person.
func (tx *Tx) EndSavedViews(person string) error {
	tx.changed = true
	_, err := tx.exec("DELETE FROM views WHERE person = $1", person)
	return err
}
