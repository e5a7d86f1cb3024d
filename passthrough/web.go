package passthrough

import (
	"net/http"

	"weir/proxy"
)

// ServeHTTP implements proxy.Handler: nothing of HTTP passes yet.
func (r *Relay) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	(&proxy.Refusal{Reason: proxy.NotFound}).WriteHTTP(w)
}
