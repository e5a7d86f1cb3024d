package admin

import (
	"encoding/json"
	"slices"
	"unicode/utf8"
)

// Bounds of what the page shows.
const (
	maxRows       = 200 // of a table
	maxNestedRows = 50  // of a table below a row
	maxText       = 256 // bytes of one cell: a viewer chooses some of them
)

// A cell is one value, ready to be shown but not escaped.
type cell struct {
	Text   string
	Number bool
}

// A fact is a value with its key.
type fact struct {
	Key string
	cell
}

// A table is an array of objects.
type table struct {
	Key     string
	Columns []string
	Rows    []row
	Total   int // rows there are
	More    int // rows not shown
}

// A row is one object; the arrays of objects in it are the tables below it.
type row struct {
	Cells  []cell
	Tables []table
}

// facts are the members of a flat object that fit in one cell.
func facts(o object) (all []fact) {
	for _, m := range o {
		if !isTable(m.val) {
			all = append(all, fact{m.key, newCell(m.key, m.val)})
		}
	}
	return all
}

// tables are the others.
func tables(o object, rows int) (all []table) {
	for _, m := range o {
		if list, ok := objects(m.val); ok {
			all = append(all, newTable(m.key, list, rows))
		}
	}
	return all
}

func newTable(key string, list []object, rows int) table {
	t := table{Key: key, Total: len(list)}
	if len(list) > rows {
		t.More = len(list) - rows
		list = list[:rows]
	}
	for i := range list {
		list[i] = list[i].flat()
	}
	t.Columns = columns(list)
	for _, o := range list {
		t.Rows = append(t.Rows, row{cells(o, t.Columns), tables(o, maxNestedRows)})
	}
	return t
}

// columns is the union of the keys, in the order in which they come up first. A
// key that never has a value is no column: that is the empty form of a table
// below the row.
func columns(list []object) (all []string) {
	for _, o := range list {
		for _, m := range o {
			if !isTable(m.val) && !absent(m.val) && !slices.Contains(all, m.key) {
				all = append(all, m.key)
			}
		}
	}
	return all
}

func cells(o object, columns []string) []cell {
	all := make([]cell, len(columns))
	for _, m := range o {
		i := slices.Index(columns, m.key)
		if i >= 0 && !isTable(m.val) && !absent(m.val) {
			all[i] = newCell(m.key, m.val)
		}
	}
	return all
}

func newCell(key string, v any) cell {
	if absent(v) {
		return cell{Text: "none"}
	}
	if n, ok := v.(json.Number); ok {
		return cell{human(key, n), true}
	}
	return cell{Text: cut(text(v))}
}

// cut shortens what is too long, at the end of a character.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
