package admin

import (
	"encoding/json"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// status is /status.json.
type status struct {
	Version  string                     `json:"version"`
	Uptime   int64                      `json:"uptime_s"`
	Ready    bool                       `json:"ready"`
	Draining bool                       `json:"draining"`
	Parts    map[string]json.RawMessage `json:"parts"` // what each part's Status says
}

func (a *Admin) status() status {
	_, ready := a.checks()
	s := status{
		Version: a.conf.Version, Uptime: int64(time.Since(a.started).Seconds()),
		Ready: ready, Draining: a.draining.Load(), Parts: map[string]json.RawMessage{},
	}
	for _, p := range a.conf.Parts {
		s.Parts[p.Name] = a.partStatus(p)
	}
	return s
}

// partStatus marshals each part on its own: one that cannot be marshalled (a
// rate that is not a number, say) must not hide the others.
func (a *Admin) partStatus(p Named) json.RawMessage {
	b, err := json.Marshal(p.Part.Status())
	if err != nil {
		a.log.Warn("status cannot be shown", zap.String("part", p.Name), zap.Error(err))
		b, _ = json.Marshal(map[string]string{"error": err.Error()}) // a string always marshals
	}
	return b
}

func (a *Admin) serveStatus(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(a.status()) //nolint:errcheck // who asked has gone
}
