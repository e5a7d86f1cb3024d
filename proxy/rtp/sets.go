package rtp

import (
	"encoding/base64"
	"strings"
)

// Bounds of the parameter sets of one description.
const (
	maxSets = 16
	maxSet  = 1400 // bytes: one goes into one packet, also over UDP
)

// Sets are the parameter sets that the fmtp of a track has (RFC 6184 §8.1, RFC
// 7798 §7.1), in the order in which a decoder wants them. What is out of bounds is
// left out.
func Sets(fmtp string) (sets [][]byte) {
	for _, name := range []string{"sprop-parameter-sets", "sprop-vps", "sprop-sps", "sprop-pps"} {
		for p := range strings.SplitSeq(fmtp, ";") {
			k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
			if !strings.EqualFold(k, name) {
				continue
			}
			for s := range strings.SplitSeq(v, ",") {
				b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
				if err == nil && len(b) > 0 && len(b) <= maxSet && len(sets) < maxSets {
					sets = append(sets, b)
				}
			}
		}
	}
	return sets
}
