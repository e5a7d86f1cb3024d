package cache

import (
	"net/http"
	"time"
)

// A meta is all that is known of an object but its bytes. It never changes: a
// 304 makes a new one. It is what stands in each file of the disk tier.
type meta struct {
	ID       uint64        // of the object; random
	Key      string        // key.id
	Path     string        // what the origin is asked for
	Query    string        // as it goes upstream
	Host     string        // as well, if it is part of the key
	Vary     []string      // the request fields that chose it
	Asks     http.Header   // those fields
	Variant  string        // what they said (variantOf)
	Status   int           // 200, or what else was stored
	Header   http.Header   // as the viewer gets it, see storable; shared, never changed
	Size     int64         // bytes; -1 while it is not known
	Chunk    int64         `json:"Slice"` // bytes of each chunk but the last; as files name it
	Sliced   bool          // chunks may be fetched, and go, one by one: there is a strong validator and the origin serves ranges
	Asked    time.Time     // when the origin was last asked about it
	Answered time.Time     // and had answered
	Age      time.Duration // initialAge, of that moment
	Verdict  verdict
	Class    class
	Tags     []string
}

// age is current_age (RFC 9111 §4.2.3).
func (m *meta) age(now time.Time) time.Duration { return m.Age + max(0, now.Sub(m.Answered)) }
