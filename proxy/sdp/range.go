package sdp

// Range is the value of a=range, the session's or else the first track's that has
// one; "" if nothing is said (RFC 2326 §C.1.5).
func (s *Session) Range() string {
	if v, ok := attribute(s.lines, "range"); ok {
		return v
	}
	for _, m := range s.Media {
		if v, ok := attribute(m.lines, "range"); ok {
			return v
		}
	}
	return ""
}
