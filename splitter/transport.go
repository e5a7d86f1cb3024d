package splitter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"weir/proxy"
)

// maxOffers bounds how many transports a viewer may offer.
const maxOffers = 16

// errOffer is a transport that is for us and cannot be read.
var errOffer = errors.New("transport not understood")

// An offer is a way for a track that a viewer offers (RFC 2326 §12.39). gortsplib
// sees no more of his Transport field than this: of the field as it came it looks up
// host names (pkg/headers/transport.go:203), and closes where one of several offers is
// of a kind that it does not know.
type offer struct {
	udp bool
	// first and second are the interleaved channels, or the viewer's UDP ports, of RTP
	// and RTCP. -1: he leaves the choice to us.
	first, second int
}

// String is the offer as a Transport field.
func (o offer) String() string {
	if o.udp {
		return fmt.Sprintf("RTP/AVP;unicast;client_port=%d-%d", o.first, o.second)
	}
	return fmt.Sprintf("RTP/AVP/TCP;unicast;interleaved=%d-%d", o.first, o.second)
}

// A choice is what offers can be taken.
type choice struct {
	udp, tcp bool
	used     []int // interleaved channels of the session's other tracks; below 0: none
}

// take returns the first offer in a Transport field that can be had. The refusal
// says whether there is none, or one that makes no sense.
func (c choice) take(field string) (offer, error) {
	quoted := false
	all := strings.FieldsFunc(field, func(r rune) bool { // mode="PLAY,RECORD" is one
		if r == '"' {
			quoted = !quoted
		}
		return r == ',' && !quoted
	})
	if len(all) == 0 || len(all) > maxOffers {
		return offer{}, &proxy.Refusal{Reason: proxy.BadRequest, Err: errOffer}
	}
	for _, text := range all {
		o, ok, err := readOffer(text)
		if !ok || o.udp && !c.udp || !o.udp && !c.tcp {
			continue
		}
		if err == nil {
			o, err = c.settle(o)
		}
		if err != nil {
			return offer{}, &proxy.Refusal{Reason: proxy.BadRequest, Err: err}
		}
		return o, nil
	}
	return offer{}, &proxy.Refusal{Reason: proxy.BadTransport}
}

// settle checks the numbers of an offer, and chooses them where the viewer has not.
func (c choice) settle(o offer) (offer, error) {
	switch {
	case o.udp:
		if o.first < 1024 || o.second < 1024 || o.first == o.second {
			return o, errOffer
		}
	case o.first < 0:
		for o.first = 0; c.taken(o.first); o.first += 2 {
		}
		o.second = o.first + 1
	case o.second != o.first+1 || o.second > 255 || c.taken(o.first):
		return o, errOffer
	}
	return o, nil
}

// taken reports whether a channel or the next one is another track's.
func (c choice) taken(ch int) bool {
	for _, used := range c.used {
		if used >= 0 && used-ch <= 1 && ch-used <= 1 {
			return true
		}
	}
	return false
}

// readOffer reads one transport. Not ok is one that is none of ours: another profile,
// multicast, publishing.
func readOffer(text string) (o offer, ok bool, err error) {
	fields := strings.Split(text, ";")
	switch strings.ToUpper(strings.TrimSpace(fields[0])) {
	case "RTP/AVP", "RTP/AVP/UDP":
		o.udp = true
	case "RTP/AVP/TCP":
	default:
		return o, false, nil
	}
	o.first, o.second = -1, -1
	for _, f := range fields[1:] {
		k, v, _ := strings.Cut(f, "=")
		v = strings.Trim(v, "\" \t")
		switch strings.ToLower(strings.TrimSpace(k)) {
		case "multicast":
			return o, false, nil
		case "mode":
			if !strings.Contains(strings.ToUpper(v), "PLAY") {
				return o, false, nil
			}
		case "interleaved":
			if !o.udp && err == nil {
				o.first, o.second, err = pair(v)
			}
		case "client_port":
			if o.udp && err == nil {
				o.first, o.second, err = pair(v)
			}
		}
	}
	return o, true, err
}

// pair reads "4-5", or "4", which stands for the same.
func pair(s string) (first, second int, err error) {
	a, b, two := strings.Cut(s, "-")
	n, err := strconv.ParseUint(a, 10, 16)
	if err != nil {
		return 0, 0, errOffer
	}
	m := n + 1
	if two {
		if m, err = strconv.ParseUint(b, 10, 16); err != nil {
			return 0, 0, errOffer
		}
	}
	if m > 0xffff {
		return 0, 0, errOffer
	}
	return int(n), int(m), nil
}
