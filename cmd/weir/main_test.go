package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run the real main as the command "weir", an origin that
// they can kill as "origin", and many viewers as "crowd".
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"weir":   main,
		"origin": originMain,
		"crowd":  crowdMain,
	})
}

// TestScripts runs testdata/*.txtar, one file for each promise of the program.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata",
		Setup: freePorts,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await, "signal": sendSignal, "rtsp": rtsp, "get": get, "jsonnum": jsonnum, "lines": lines,
			"certify": certify, "h2": h2,
		},
		Condition: func(cond string) (bool, error) {
			if name, ok := strings.CutPrefix(cond, "have:"); ok {
				_, err := exec.LookPath(name)
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// freePorts gives scripts addresses on which nobody listens: $RTSP $HTTP $RTSPS
// $HTTPS $ADMIN $ORIGIN and the even $UDP.
func freePorts(env *testscript.Env) error {
	for _, name := range []string{"RTSP", "HTTP", "RTSPS", "HTTPS", "ADMIN", "ORIGIN", "RTSP2", "HTTP2", "ADMIN2"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		env.Setenv(name, l.Addr().String())
	}
	for _, name := range []string{"UDP", "UDP2"} {
		c, err := evenUDP()
		if err != nil {
			return err
		}
		defer c.Close()
		env.Setenv(name, c.LocalAddr().String())
	}
	// The program reads WEIR_…: nothing of the developer's shall leak in.
	for _, kv := range env.Vars {
		if k, _, _ := strings.Cut(kv, "="); strings.HasPrefix(k, "WEIR_") {
			return fmt.Errorf("%s is set", k)
		}
	}
	return nil
}

func evenUDP() (net.PacketConn, error) {
	for {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil || c.LocalAddr().(*net.UDPAddr).Port%2 == 0 {
			return c, err
		}
		defer c.Close() // not before: the same one would come again
	}
}

// jsonnum compares a number of a JSON object: jsonnum FILE KEY >= 5.
func jsonnum(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: jsonnum file key >=|<=|== number")
	}
	var obj map[string]float64
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &obj))
	got, ok := obj[args[1]]
	if !ok {
		ts.Fatalf("no %q in %v", args[1], obj)
	}
	var want float64
	_, err := fmt.Sscan(args[3], &want)
	ts.Check(err)
	holds := map[string]bool{">=": got >= want, "<=": got <= want, "==": got == want}[args[2]]
	if holds == neg {
		ts.Fatalf("%s is %v, want %s %v", args[1], got, args[2], want)
	}
}

// lines counts the lines of a file: lines FILE N.
func lines(ts *testscript.TestScript, neg bool, args []string) {
	n := strings.Count(ts.ReadFile(args[0]), "\n")
	if (fmt.Sprint(n) == args[1]) == neg {
		ts.Fatalf("%s has %d lines, want %s", args[0], n, args[1])
	}
}

// TestFloorPlan holds the floor plan of ARCHITECTURE.md: packages import what is
// below them, and neighbours do not know each other.
func TestFloorPlan(t *testing.T) {
	floor := func(pkg string) int {
		switch pkg {
		case "weir/proxy/wire", "weir/proxy/sdp", "weir/proxy/rtp", "weir/proxy/auth", "weir/proxy/udp", "weir/proxy/forward", "weir/proxy":
			return 0
		case "weir/cmd/weir":
			return 2
		case "weir/proxy/proxytest":
			return 3 // for tests: may import anything, and nothing may import it
		default:
			return 1
		}
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "weir/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for dec.More() {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		seen++
		for _, imp := range p.Imports {
			if !strings.HasPrefix(imp, "weir/") || floor(p.ImportPath) == 3 {
				continue
			}
			from, to := floor(p.ImportPath), floor(imp)
			// Within floor 0 the contract is above the formats, and forward above the contract.
			downInZero := from == 0 && to == 0 && p.ImportPath != "weir/proxy/wire" &&
				(imp != "weir/proxy" || p.ImportPath == "weir/proxy/forward") && imp != "weir/proxy/forward"
			if to >= from && !downInZero {
				t.Errorf("%s (floor %d) imports %s (floor %d)", p.ImportPath, from, imp, to)
			}
		}
		if slices.Contains(p.Imports, "testing") && floor(p.ImportPath) != 3 {
			t.Errorf("%s has testing in the binary", p.ImportPath)
		}
	}
	if seen < 10 {
		t.Errorf("saw %d packages only", seen)
	}
}

// TestPinned holds the one version of gortsplib that has code: later ones of v4
// are empty.
func TestPinned(t *testing.T) {
	b, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "github.com/bluenviron/gortsplib/v4 v4.16.2\n") {
		t.Error("go.mod does not pin gortsplib v4.16.2")
	}
}

// TestFlagTexts: every flag says something, in the style of the others.
func TestFlagTexts(t *testing.T) {
	newConfig("weir", os.Stderr).fs.VisitAll(func(f *flag.Flag) {
		if len(f.Usage) < 20 || strings.HasSuffix(f.Usage, ".") {
			t.Errorf("-%s: %q", f.Name, f.Usage)
		}
	})
}
