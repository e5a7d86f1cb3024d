package admission

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Words is a flag that collects words: repeated, or with blanks or commas
// between them.
type Words []string

// Set implements flag.Value.
func (w *Words) Set(s string) error {
	words := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
	*w = append((*w)[:len(*w):len(*w)], words...)
	return nil
}

// String implements flag.Value.
func (w *Words) String() string { return strings.Join(*w, ",") }

// Classes are shares in percent, the highest first.
type Classes []Class

// A Class is one of them.
type Class struct {
	Name  string
	Share int // percent, 1 to 100
}

// Set implements flag.Value.
func (c *Classes) Set(s string) error {
	var all Classes
	for pair := range strings.SplitSeq(s, ",") {
		name, share, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || name == "" {
			return fmt.Errorf("%q is not a class like gold=100", pair)
		}
		n, err := strconv.Atoi(share)
		if err != nil || n < 1 || n > 100 {
			return fmt.Errorf("%q: the share of a class must be a number from 1 to 100, as in gold=100", pair)
		}
		if slices.ContainsFunc(all, func(x Class) bool { return x.Name == name }) {
			return fmt.Errorf("class %s is there twice", name)
		}
		all = append(all, Class{name, n})
	}
	slices.SortStableFunc(all, func(a, b Class) int { return b.Share - a.Share })
	*c = all
	return nil
}

// String implements flag.Value.
func (c *Classes) String() string {
	var s []string
	for _, x := range *c {
		s = append(s, x.Name+"="+strconv.Itoa(x.Share))
	}
	return strings.Join(s, ",")
}

// share is what a class may fill of n, rounded up: all of it where there are no
// classes.
func (c Classes) share(name string, n int64) int64 {
	if len(c) == 0 {
		return n
	}
	return (n*int64(c.find(name).Share) + 99) / 100
}

// of is the class that somebody with the given name is in; "" without classes.
func (c Classes) of(name string) string {
	if len(c) == 0 {
		return ""
	}
	return c.find(name).Name
}

// find takes the lowest where there is none of that name.
func (c Classes) find(name string) Class {
	i := slices.IndexFunc(c, func(x Class) bool { return x.Name == name })
	if i < 0 {
		i = len(c) - 1
	}
	return c[i]
}
