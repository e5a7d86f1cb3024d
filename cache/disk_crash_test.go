package cache

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// crashDir is set in the process that is to die.
const crashDir = "WEIR_TEST_DISK_CRASH"

// TestDiskCrashChild is not a test: it writes as fast as it can until it is killed, and says what it
// was told is on the disk.
func TestDiskCrashChild(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		t.Skip("is run by TestDiskCrash")
	}
	d, err := openDisk(diskOptions{Dir: dir, Limit: 4 << 30, Policy: "2q", Log: zap.NewNop(), Gone: func(*meta, int) {}})
	if err != nil {
		t.Fatal(err)
	}
	go d.run(context.Background(), func(*meta, int) {}) //nolint:errcheck // it is killed
	fmt.Println("ready")
	said := make(chan string, 100)
	go crashPut(d, said)
	for s := range said {
		fmt.Println(s)
	}
}

func crashPut(d *disk, said chan<- string) {
	slots := make(chan struct{}, 16)
	for {
		m := diskMetaOf(newDiskID())
		for n := range 1 + rand.IntN(4) {
			slots <- struct{}{}
			d.put(diskPiece{m, n, diskBodyOf(m.ID, n)}, func(ok bool) {
				if ok {
					said <- fmt.Sprintf("%x %d", m.ID, n)
				}
				<-slots
			})
		}
		changed := *m
		changed.Header = http.Header{"X-Long": {strings.Repeat("x", rand.IntN(5000))}}
		d.update(&changed)
	}
}

// A process that is killed at any moment leaves nothing torn behind, and what it was told is on the
// disk is there.
func TestDiskCrash(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[chunkName]bool{}
	for range 20 {
		crash(t, dir, acknowledged)
	}
	r := startDisk(t, diskOptions{Dir: dir, Limit: 4 << 30})
	b := make([]byte, 1<<20)
	for c, m := range r.found {
		got, err := r.read(c.id, c.n, b)
		if err != nil || !bytes.Equal(b[:got], diskBodyOf(c.id, c.n)) {
			t.Errorf("read %v: %d bytes, %v", c, got, err)
		}
		if m.ID != c.id || m.Key != diskMetaOf(c.id).Key {
			t.Errorf("found %v with the meta of %q", c, m.Key)
		}
	}
	for c := range acknowledged {
		if r.found[c] == nil {
			t.Errorf("%v was on the disk and is not there", c)
		}
	}
	for _, f := range folderFiles(t, dir) {
		if strings.HasSuffix(f, diskTemp) {
			t.Errorf("%s was left", f)
		}
	}
	if n := r.failures(); n > 0 {
		t.Errorf("%d failures", n)
	}
	t.Logf("%d chunks were acknowledged, %d found", len(acknowledged), len(r.found))
	if len(acknowledged) < 20 {
		t.Error("too few for a test")
	}
}

// crash starts a process that writes, kills it after a random while and adds what it had
// acknowledged.
func crash(t *testing.T, dir string, acknowledged map[chunkName]bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestDiskCrashChild$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() //nolint:errcheck // it was killed
	lines := bufio.NewReader(out)
	for first := ""; first != "ready\n"; {
		if first, err = lines.ReadString('\n'); err != nil {
			t.Fatalf("the process that writes: %v", err)
		}
	}
	kill := time.AfterFunc(time.Duration(rand.Int64N(int64(150*time.Millisecond))), func() { cmd.Process.Kill() }) //nolint:errcheck // it is there
	defer kill.Stop()
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		hex, n, _ := strings.Cut(strings.TrimSpace(line), " ")
		id, err1 := strconv.ParseUint(hex, 16, 64)
		chunk, err2 := strconv.Atoi(n)
		if err1 != nil || err2 != nil {
			t.Errorf("the process that writes said %q", line)
			continue
		}
		acknowledged[chunkName{id, chunk}] = true
	}
}
