package cache

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// encodeMeta renders a meta as it stands in a file: JSON, of which each string is read as
// Latin-1. What viewers and origins send need not be UTF-8, and JSON would change it.
func encodeMeta(m *meta) ([]byte, error) {
	b, err := json.Marshal(mapStrings(reflect.ValueOf(m).Elem(), fromLatin1).Interface())
	if err == nil && len(b) > diskMeta {
		err = fmt.Errorf("%d bytes of meta", len(b))
	}
	return b, err
}

func decodeMeta(b []byte) (*meta, error) {
	var m meta
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%w: meta: %w", errBroken, err)
	}
	if m.Chunk <= 0 {
		return nil, fmt.Errorf("%w: meta: chunks of %d bytes", errBroken, m.Chunk)
	}
	return mapStrings(reflect.ValueOf(&m).Elem(), toLatin1).Addr().Interface().(*meta), nil
}

// mapStrings returns a copy of v in which every string has gone through f. It can be addressed.
func mapStrings(v reflect.Value, f func(string) string) reflect.Value {
	w := reflect.New(v.Type()).Elem()
	w.Set(v)
	switch v.Kind() {
	case reflect.String:
		w.SetString(f(v.String()))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				w.Field(i).Set(mapStrings(v.Field(i), f))
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			break
		}
		w.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			w.Index(i).Set(mapStrings(v.Index(i), f))
		}
	case reflect.Map:
		if v.IsNil() {
			break
		}
		w.Set(reflect.MakeMapWithSize(v.Type(), v.Len()))
		for key, value := range v.Seq2() {
			w.SetMapIndex(mapStrings(key, f), mapStrings(value, f))
		}
	}
	return w
}

// fromLatin1 returns in UTF-8 what is in Latin-1: any bytes.
func fromLatin1(s string) string {
	if isASCII(s) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// toLatin1 undoes fromLatin1.
func toLatin1(s string) string {
	if isASCII(s) {
		return s
	}
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
