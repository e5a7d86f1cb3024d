package admission

import (
	"flag"
	"io"
	"strings"
	"testing"
)

// TestClassMistakes: what is wrong is said.
func TestClassMistakes(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		if err := new(Classes).Set(s); errorText(err) != want {
			t.Errorf("%q: %v, want %s", s, err, want)
		}
	}
	f("gold=100,silver=1", "")
	for _, share := range []string{"200", "101", "0", "-1", "x", "", "99999999999999999999"} {
		f("gold="+share, `"gold=`+share+`": the share of a class must be a number from 1 to 100, as in gold=100`)
	}
	f("=5", `"=5" is not a class like gold=100`)
	f("gold", `"gold" is not a class like gold=100`)
	f("gold=1,gold=2", "class gold is there twice")
}

func TestClasses(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		var c Classes
		if err := c.Set(in); err != nil && want != "" || err == nil && c.String() != want {
			t.Errorf("%q: %v, %v, want %q", in, c, err, want)
		}
	}
	f("gold=100", "gold=100")
	f("bronze=70, gold=100,silver=85", "gold=100,silver=85,bronze=70")
	f("gold", "")
	f("gold=0", "")
	f("gold=101", "")
	f("=50", "")
	f("gold=50,gold=60", "")
	f("", "")
}

func TestShare(t *testing.T) {
	c := Classes{{"gold", 100}, {"bronze", 70}}
	f := func(class string, n, want int64) {
		t.Helper()
		if got := c.share(class, n); got != want {
			t.Errorf("share of %q of %d = %d, want %d", class, n, got, want)
		}
	}
	f("gold", 10, 10)
	f("bronze", 10, 7)
	f("", 10, 7)
	f("silver", 10, 7)
	f("bronze", 1, 1) // a limit of one is for everybody
	f("bronze", 0, 0) // none
	if n := (Classes{}).share("any", 10); n != 10 {
		t.Errorf("without classes: %d", n)
	}
}

// TestMistakesAreToldTogether gives every flag that can be wrong something wrong.
func TestMistakesAreToldTogether(t *testing.T) {
	fs := flag.NewFlagSet("gate", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o := Flags(fs)
	wrong := map[string]string{"viewers": "-1", "per-client": "-1", "per-stream": "-1", "per-subject": "-1", "connections": "-1", "client-connections": "-1",
		"ban": "-1", "shed-cpu": "101", "shed-memory": "-1", "shed-files": "1000", "rate": "NaN", "client-rate": "-1", "window": "1ms", "cluster": "on", "cookie": "a b", "carry": "on"}
	for name, value := range wrong {
		if err := fs.Set("admission."+name, value); err != nil {
			t.Fatal(err)
		}
	}
	err := o.Validate()
	if err == nil {
		t.Fatal("no mistake was found")
	}
	for name := range wrong {
		if !strings.Contains(err.Error(), "-admission."+name+" ") {
			t.Errorf("nothing is said of -admission.%s in:\n%v", name, err)
		}
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if !strings.HasPrefix(line, "-admission.") {
			t.Errorf("%q names no flag", line)
		}
	}
}

func TestUnder(t *testing.T) {
	f := func(prefix, path string, want bool) {
		t.Helper()
		if got := (under{prefix}).allows(path); got != want {
			t.Errorf("under %q: %q is %v, want %v", prefix, path, got, want)
		}
	}
	f("/a", "/a", true)
	f("/a", "/a/b", true)
	f("/a", "/ab", false)
	f("/a", "/", false)
	f("/a/b", "/a", false)
	f("/", "/", true)
	f("/", "/a/b", true)
	f("/a", "/A", false)
}
