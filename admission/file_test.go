package admission

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestFileIsReadAgain(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	write := func(text string, age time.Duration) {
		t.Helper()
		if err := errors.Join(os.WriteFile(name, []byte(text), 0o600), os.Chtimes(name, time.Time{}, time.Now().Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	parse := func(b []byte) (string, error) {
		if strings.HasPrefix(string(b), "bad") {
			return "", errors.New("line 1 is bad")
		}
		return string(b), nil
	}
	core, said := observer.New(zap.InfoLevel)
	if _, err := readFile("admission.keys", name, parse, zap.New(core)); err == nil || !strings.HasPrefix(err.Error(), "-admission.keys: open ") {
		t.Errorf("without a file: %v", err)
	}
	write("bad", time.Hour)
	if _, err := readFile("admission.keys", name, parse, zap.New(core)); err == nil || err.Error() != "-admission.keys "+name+": line 1 is bad" {
		t.Errorf("a bad file: %v", err)
	}
	write("one", time.Hour)
	f, err := readFile("admission.keys", name, parse, zap.New(core))
	if err != nil || f.get() != "one" {
		t.Fatal(f, err)
	}
	changes := 0
	f.changed = func() { changes++ }
	look := func(want string, wantChanges, lines int) {
		t.Helper()
		f.look()
		if f.get() != want || changes != wantChanges || said.Len() != lines {
			t.Errorf("%q after %d changes and %d lines, want %q, %d, %d", f.get(), changes, said.Len(), want, wantChanges, lines)
		}
	}
	look("one", 0, 0)
	write("two", time.Minute)
	look("two", 1, 1)
	write("bad", time.Second)
	look("two", 1, 2)
	look("two", 1, 2)
	os.Remove(name)
	for range patientLooks - 1 {
		look("two", 1, 2)
	}
	look("two", 1, 3) // it is said, once
	look("two", 1, 3)
	write("three", 0)
	look("three", 2, 4)
}
