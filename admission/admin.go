package admission

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"weir/proxy"
)

const (
	fewBans  = 100    // listed if nobody says how many
	manyBans = 10_000 // listed at most
)

var _ proxy.Adminer = (*Gate)(nil)

// Admin implements proxy.Adminer: the operators' way to the bans of this node. It is
// mounted behind the guard of proxy/admin, which asks for the token and turns away
// what another site's page sends. What it answers:
//
//	GET /bans           ?limit=N: {"bans": […], "more": true|false, "elsewhere": N}, the latest first.
//	                    In each ban "elsewhere" is how many other edges have banned it too; outside of
//	                    them, how many addresses they have banned: of those half the offences are enough
//	DELETE /bans/ADDR   lifts the ban of an address, and forgets what it has done: {"lifted": ADDR};
//	                    404 if it has none. ADDR may be a prefix, as bans are listed
func (g *Gate) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", adminHelp)
	mux.HandleFunc("GET /bans", g.listBans)
	mux.HandleFunc("DELETE /bans/{addr...}", g.liftBan)
	mux.HandleFunc("DELETE /bans", g.liftBan) // or it would be redirected, without the prefix that the door has
	return mux
}

// adminHelp is for who comes here from the status page.
func adminHelp(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "GET bans?limit=100     who is banned on this node, see -admission.ban\n"+ //nolint:errcheck // the operator has left
		"DELETE bans/192.0.2.1  lets an address in again; of IPv6 its /64\n")
}

func (g *Gate) listBans(w http.ResponseWriter, r *http.Request) {
	limit := fewBans
	if l := r.URL.Query().Get("limit"); l != "" {
		var err error
		if limit, err = strconv.Atoi(l); err != nil || limit < 1 || limit > manyBans {
			http.Error(w, fmt.Sprintf("a limit is a number from 1 to %d", manyBans), http.StatusBadRequest)
			return
		}
	}
	list := struct {
		Bans []banStatus `json:"bans"`
		More bool        `json:"more"`

		Elsewhere int `json:"elsewhere,omitempty"`
	}{}
	now := time.Now()
	list.Bans, list.More = g.bans.list(limit, now)
	list.Elsewhere = g.bans.hinted(now)
	adminAnswer(w, list)
}

func (g *Gate) liftBan(w http.ResponseWriter, r *http.Request) {
	c, err := bannedClient(r.PathValue("addr"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !g.bans.lift(c, time.Now()) {
		http.Error(w, shownClient(c)+" is not banned on this node", http.StatusNotFound)
		return
	}
	g.log.Info("ban lifted", zap.String("address", shownClient(c)))
	adminAnswer(w, map[string]string{"lifted": shownClient(c)})
}

func adminAnswer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the operator has left
}

// bannedClient reads an address, or what shownClient writes.
func bannedClient(s string) (netip.Addr, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return client(a), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p != p.Masked() || p.Bits() != min(p.Addr().BitLen(), 64) {
		return netip.Addr{}, errors.New("bans are of an address, or of a /64 of IPv6")
	}
	return client(p.Addr()), nil
}

// shownClient is a client as operators see it.
func shownClient(c netip.Addr) string {
	if c.Is4() {
		return c.String()
	}
	return netip.PrefixFrom(c, 64).String()
}

// A banStatus is what operators see of a ban.
type banStatus struct {
	Address string  `json:"address"` // or a /64 of IPv6
	Left    float64 `json:"left_s"`
	Times   int     `json:"times"` // bans without a day between them, with this one

	Elsewhere int `json:"elsewhere,omitempty"` // other edges that have banned it
}

// list has the latest bans first, at most limit of them; more says that there are
// others. It is never nil.
func (b *bans) list(limit int, now time.Time) (list []banStatus, more bool) {
	list = []banStatus{}
	if b == nil {
		return list, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range slices.Backward(b.banned.Keys()) {
		ban, _ := b.banned.Peek(c)
		switch {
		case !now.Before(ban.until):
			continue
		case len(list) == limit:
			return list, true
		}
		list = append(list, banStatus{shownClient(c), ban.until.Sub(now).Seconds(), ban.times, b.elsewhere(c, now)})
	}
	return list, false
}

// lift ends a client's ban, the next of which is a first one again, and reports
// whether there was one.
func (b *bans) lift(c netip.Addr, now time.Time) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	ban, _ := b.banned.Peek(c)
	if !now.Before(ban.until) {
		return false
	}
	b.changed = true
	b.watched.Remove(c)
	return b.banned.Remove(c)
}
