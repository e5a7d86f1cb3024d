package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// An object is a JSON object whose members keep their order: the part's author
// put them in the order that reads best. Values are object, []any, string,
// json.Number, bool or nil.
type object []member

type member struct {
	key string
	val any
}

// parseTree reads one JSON value, and makes an object of what is none.
func parseTree(b []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	v, err := parseValue(dec)
	if err != nil {
		return nil, fmt.Errorf("parse status: %w", err)
	}
	switch v := v.(type) {
	case object:
		return v, nil
	case nil:
		return nil, nil
	default:
		return object{{"status", v}}, nil
	}
}

func parseValue(dec *json.Decoder) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		return parseObject(dec)
	case json.Delim('['):
		return parseArray(dec)
	default:
		return tok, nil
	}
}

func parseObject(dec *json.Decoder) (any, error) {
	o := object{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		val, err := parseValue(dec)
		if err != nil {
			return nil, err
		}
		o = append(o, member{key.(string), val}) // the decoder lets nothing else be a key
	}
	_, err := dec.Token() // the brace
	return o, err
}

func parseArray(dec *json.Decoder) (any, error) {
	all := []any{}
	for dec.More() {
		val, err := parseValue(dec)
		if err != nil {
			return nil, err
		}
		all = append(all, val)
	}
	_, err := dec.Token() // the bracket
	return all, err
}

// flat lifts the members of objects inside o: {"ring":{"packets":3}} reads
// ring.packets. Arrays stay.
func (o object) flat() object {
	var all object
	for _, m := range o {
		inner, ok := m.val.(object)
		if !ok {
			all = append(all, m)
			continue
		}
		for _, in := range inner.flat() {
			all = append(all, member{m.key + "." + in.key, in.val})
		}
	}
	return all
}

// objects returns v as an array of objects, if it is one with at least one.
func objects(v any) ([]object, bool) {
	list, _ := v.([]any)
	all := make([]object, 0, len(list))
	for _, e := range list {
		o, ok := e.(object)
		if !ok {
			return nil, false
		}
		all = append(all, o)
	}
	return all, len(all) > 0
}

func isTable(v any) bool {
	_, ok := objects(v)
	return ok
}

// absent reports whether v says that there is nothing: Go marshals an empty
// slice as [] or as null.
func absent(v any) bool {
	list, ok := v.([]any)
	return v == nil || ok && len(list) == 0
}

// text is v in one line, for where it has but one cell.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case bool:
		return map[bool]string{true: "yes", false: "no"}[v]
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, text(e))
		}
		return strings.Join(all, ", ")
	case object:
		var all []string
		for _, m := range v.flat() {
			all = append(all, m.key+" "+text(m.val))
		}
		return "{" + strings.Join(all, ", ") + "}"
	default:
		return fmt.Sprint(v)
	}
}
