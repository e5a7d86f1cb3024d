package origintest

import (
	"bufio"
	"bytes"
	"fmt"
	"testing"
)

// The playlist's ranges are the clip's, one behind the other, and each begins
// with the tables that a decoder needs.
func TestPlaylistOfRanges(t *testing.T) {
	clip, err := content.ReadFile("clip.ts")
	if err != nil {
		t.Fatal(err)
	}
	list, err := content.ReadFile("clip.m3u8")
	if err != nil {
		t.Fatal(err)
	}
	at, n := 0, 0
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		var length, from int
		if _, err := fmt.Sscanf(lines.Text(), "#EXT-X-BYTERANGE:%d@%d", &length, &from); err != nil {
			continue
		}
		first := from
		if from == 0 {
			first = 188 // the SDT stands before it
		}
		if from != at || clip[first] != 0x47 || clip[first+1]&0x1f != 0 || clip[first+2] != 0 {
			t.Errorf("range %d begins at %d, want %d, at a packet of the PAT", n, from, at)
		}
		at, n = from+length, n+1
	}
	if at != len(clip) || n != int(clipLength.Seconds()) {
		t.Errorf("%d ranges end at %d, the clip at %d", n, at, len(clip))
	}
}
