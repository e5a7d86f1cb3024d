package passthrough

import (
	"net/http"

	"weir/proxy"
)

// ServeHTTP implements http.Handler: every request goes to an origin. The
// viewer's place is his until the last byte, or the end of what an upgrade made
// of the connection.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ticket, err := r.env.Gate.Admit(req.Context(), proxy.ViewerFrom(req.Context()))
	if err != nil {
		proxy.Refused(err).WriteHTTP(w)
		return
	}
	defer ticket.Close()
	r.forward.Serve(w, req, ticket)
}
