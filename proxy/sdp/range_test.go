package sdp

import "testing"

func TestRange(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		s, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Range(); got != want {
			t.Errorf("Range of %q is %q, want %q", text, got, want)
		}
	}
	f("v=0\r\nm=video 0 RTP/AVP 96\r\n", "")
	f("v=0\r\na=range:npt=0-8.5\r\nm=video 0 RTP/AVP 96\r\na=range:npt=0-9\r\n", "npt=0-8.5")
	f("v=0\r\nm=audio 0 RTP/AVP 0\r\nm=video 0 RTP/AVP 96\r\na=range:clock=20261108T143720Z-\r\n", "clock=20261108T143720Z-")
}
