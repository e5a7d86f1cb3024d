package deploy

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/peterbourgon/ff/v3/ffyaml"
)

// Every flag that a file here names is one of the edge's or the agent's, on the command
// line or in the environment.
func TestFlagsExist(t *testing.T) {
	weir := build(t)
	help, _ := exec.Command(weir, "-h").CombinedOutput() // says nothing else
	agent, _ := exec.Command(weir, "agent", "-h").CombinedOutput()
	help = append(help, agent...)
	for _, file := range []string{"Dockerfile", "compose.yaml", "haproxy/haproxy.cfg", "nginx/nginx.conf", "README.md"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`WEIR_([A-Z_]+)`).FindAllStringSubmatch(string(b), -1) {
			flag := strings.ToLower(strings.ReplaceAll(m[1], "_", `[.-]`))
			if !regexp.MustCompile(`(?m)^  -` + flag + `\b`).Match(help) {
				t.Errorf("%s: %s is the name of no flag", file, m[0])
			}
		}
		for _, m := range regexp.MustCompile("[\"`( ]-((?:admin|drain|front|splitter|tls|rtsps|https|origin)[.a-z-]*)").FindAllStringSubmatch(string(b), -1) {
			if !regexp.MustCompile(`(?m)^  -` + regexp.QuoteMeta(m[1]) + `\s`).Match(help) {
				t.Errorf("%s: there is no flag -%s", file, m[1])
			}
		}
	}
}

// TestCompose holds the composition as far as that goes without Docker: the edge
// knows its origins, the operators' door has a token, what is mounted is there,
// and stopping waits for the drain.
func TestCompose(t *testing.T) {
	got := map[string][]string{}
	read(t, "compose.yaml", got)
	f := func(key, want string) {
		t.Helper()
		if s := strings.Join(got["services."+key], " "); s != want {
			t.Errorf("%s: %q, want %q", key, s, want)
		}
	}
	f("origin1.image", "bluenviron/mediamtx:1.9.3-ffmpeg")
	f("origin2.image", "bluenviron/mediamtx:1.9.3-ffmpeg")
	for _, edge := range []string{"edge1", "edge2"} {
		f(edge+".build.dockerfile", "deploy/Dockerfile")
		f(edge+".hostname", edge)
		f(edge+".command", "-splitter.udp  -passthrough.udp ")
		f(edge+".environment.WEIR_CLUSTER_JOIN", "edge1 edge2")
		f(edge+".environment.WEIR_DRAIN_NOTICE", "5s")
		f(edge+".environment.WEIR_DRAIN_TIMEOUT", "1m")
		f(edge+".stop_grace_period", "70s")
		if got["services."+edge+".environment.WEIR_ADMIN_TOKEN"] == nil {
			t.Errorf("the operators' door of %s is open off loopback, and nothing is asked", edge)
		}
	}
	for i, agent := range []string{"agent1", "agent2"} {
		origin := "origin" + string(rune('1'+i))
		f(agent+".network_mode", "service:"+origin)
		f(agent+".command", "agent -rtsp 127.0.0.1:8554 -probe rtsp=describe:/live/clock -cluster.name "+origin)
		f(agent+".environment.WEIR_CLUSTER_KEY_FILE", "/run/cluster.keys")
	}
	if key := got["configs.cluster-keys.content"]; len(key) != 1 || len(key[0]) != 44 {
		t.Errorf("the key of the cluster: %q", key)
	}
	mount, _, _ := strings.Cut(got["services.origin1.volumes"][0], ":")
	origin := map[string][]string{}
	read(t, mount, origin)
	if run := origin["paths.live/clock.runOnInit"]; len(run) != 1 || !strings.Contains(run[0], "$RTSP_PORT/$MTX_PATH") {
		t.Errorf("%s: %v", mount, origin)
	}
}

// read flattens a file in YAML.
func read(t *testing.T, file string, into map[string][]string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = ffyaml.Parser(f, func(name, value string) error {
		into[name] = append(into[name], value)
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
