/* codec_http1_responses.h: response streams and what each means: CASE(name, METHOD, bytes, trace), see
 * codec_http1_trace.h. METHOD: GET, HEAD, CONNECT, or UPGRADE for a GET that offered an upgrade. */
CASE("upgrade 101 unsolicited", GET, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"
     "GARBAGE",
     "error upgrade_unexpected")
CASE("response two responses", GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nX-Stolen: 1\r\n"
     "Content-Length: 6\r\n\r\nstolen",
     "200 OK len=2 {ok} | 200 OK len=6 [X-Stolen=1] {stolen} | end")
CASE("response extra after cl", GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloEXTRA",
     "200 OK len=5 {hello} | error response_malformed")
CASE("response extra after chunked", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nEXTRA",
     "200 OK chunked {hello} | error response_malformed")
CASE("response 204 cl body", GET, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
     "204 No Content announced=5 doubtful close {} | close")
CASE("response 304 cl", GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nETag: \"x\"\r\n\r\n",
     "304 Not Modified announced=100 [ETag=\"x\"] {} | end")
CASE("response head cl", HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
     "200 OK announced=1000 {} | end")
CASE("response head with body", HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 57\r\n\r\nHTTP/1.1 200 OK\r\nX-Stolen: 1\r\n"
     "Content-Length: 6\r\n\r\nstolen",
     "200 OK announced=57 {} | 200 OK announced=6 [X-Stolen=1] {} | error response_malformed")
CASE("response cl te", GET, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
     "hello\r\n0\r\n\r\n",
     "error response_framing")
CASE("response cl dup diff", GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 2\r\n\r\nhello",
     "error response_framing")
CASE("response cl neg", GET, "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello",
     "error response_framing")
CASE("response te unknown", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nhello",
     "error response_framing")
CASE("response te http10", GET, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
     "error response_framing")
CASE("response close delim", GET, "HTTP/1.1 200 OK\r\n\r\nhello",
     "200 OK close {hello} | fin")
CASE("response eof mid cl", GET, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
     "200 OK len=100 {hello} | body")
CASE("response eof mid chunk", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhello",
     "200 OK chunked {hello} | body")
CASE("response eof mid headers", GET, "HTTP/1.1 200 OK\r\nX: y",
     "head")
CASE("response 1xx series", GET, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
     "Link: </a>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n"
     "Content-Length: 2\r\n\r\nok",
     "100 Continue {} | 103 Early Hints [Link=</a>; rel=preload] {} | 102 Processing {} | 200 OK"
     " len=2 {ok} | end")
CASE("response 1xx cl body", GET, "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n"
     "Content-Length: 2\r\n\r\nok",
     "103 Early Hints announced=5 doubtful close {} | 200 OK len=2 {ok} | end")
CASE("response status 4digit", GET, "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
     "error response_malformed")
CASE("response status noreason", GET, "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
     "200  len=2 {ok} | end")
CASE("response http09", GET, "hello world",
     "error response_malformed")
CASE("response hdr space colon", GET, "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
     "error response_malformed")
CASE("response hdr obsfold", GET, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("response hdr nul", GET, "HTTP/1.1 200 OK\r\nX: a\000b\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("response split", GET, "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n"
     "X-Stolen: 1\r\nContent-Length: 6\r\n\r\nstolen",
     "302 Found len=0 [Location=/x] {} | 200 OK len=6 [X-Stolen=1] {stolen} | end")
CASE("response chunk lf", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
     "200 OK chunked {} | error bad_chunk")
CASE("response chunk overflow", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n"
     "0\r\n\r\n",
     "200 OK chunked {} | error bad_chunk")
CASE("response chunk ext", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
     "200 OK chunked {hello} | end")
CASE("response early unread", GET, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
     "401 Unauthorized len=0 {} | end")
CASE("response early close", GET, "HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig",
     "413 Payload Too Large len=3 close {big} | close")
CASE("response conn close", GET, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
     "200 OK len=2 close {ok} | close")
CASE("response http10 noka", GET, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
     "200 OK 1.0 len=2 close {ok} | close")
CASE("status HTTP/1.1 200", GET, "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
     "200  len=2 {ok} | end")
CASE("status HTTP/1.1 200 ", GET, "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
     "200  len=2 {ok} | end")
CASE("status HTTP/1.1 200  two  spaces ", GET, "HTTP/1.1 200  two  spaces \r\nContent-Length: 2\r\n\r\nok",
     "200  two  spaces  len=2 {ok} | end")
CASE("status HTTP/1.1 200 caf<e9><09>tab", GET, "HTTP/1.1 200 caf\351\ttab\r\nContent-Length: 2\r\n\r\nok",
     "200 caf\\xe9\\x09tab len=2 {ok} | end")
CASE("status HTTP/1.0 200 OK", GET, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
     "200 OK 1.0 len=2 close {ok} | close")
CASE("status HTTP/1.1 099 X", GET, "HTTP/1.1 099 X\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/1.1 600 X", GET, "HTTP/1.1 600 X\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/1.1 599 X", GET, "HTTP/1.1 599 X\r\nContent-Length: 2\r\n\r\nok",
     "599 X len=2 {ok} | end")
CASE("status HTTP/1.1 20 OK", GET, "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/1.1 2x0 OK", GET, "HTTP/1.1 2x0 OK\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/1.1  200 OK", GET, "HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/1.1 200OK", GET, "HTTP/1.1 200OK\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/1.1 200<09>OK", GET, "HTTP/1.1 200\tOK\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/1.1<09>200 OK", GET, "HTTP/1.1\t200 OK\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/1.2 200 OK", GET, "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/2.0 200 OK", GET, "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status http/1.1 200 OK", GET, "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/1.1 200 a<0d>b", GET, "HTTP/1.1 200 a\rb\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/1.1 200 a<0a>b", GET, "HTTP/1.1 200 a\nb\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/1.1 200 a<00>b", GET, "HTTP/1.1 200 a\000b\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/1.1 200 a<1b>b", GET, "HTTP/1.1 200 a\033b\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status <0d><0a>HTTP/1.1 200 OK", GET, "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status ICY 200 OK", GET, "ICY 200 OK\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/1.1 -20 OK", GET, "HTTP/1.1 -20 OK\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("status HTTP/1.1 000 OK", GET, "HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok",
     "error response_malformed")
CASE("response length", GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
     "200 OK len=2 {ok} | end")
CASE("response length twice same", GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
     "error response_framing")
CASE("response length list", GET, "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
     "error response_framing")
CASE("response length empty", GET, "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok",
     "error response_framing")
CASE("response length overflow", GET, "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nok",
     "error response_framing")
CASE("response chunked", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
     "200 OK chunked {hello} | end")
CASE("response gzip chunked", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
     "error response_framing")
CASE("response coding twice", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
     "5\r\nhello\r\n0\r\n\r\n",
     "error response_framing")
CASE("response coding empty", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
     "error response_framing")
CASE("response bad chunk", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX",
     "200 OK chunked {hello} | error bad_chunk")
CASE("response chunk trailers", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\nSet-Cookie: z\r\n\r\n",
     "200 OK chunked {} <X=y> | end")
CASE("response close", GET, "HTTP/1.1 200 OK\r\n\r\n",
     "200 OK close {} | fin")
CASE("response bare lf", GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok",
     "error response_malformed")
CASE("response no colon", GET, "HTTP/1.1 200 OK\r\nX\r\n\r\nok",
     "error response_malformed")
CASE("response keep-alive 1.1", GET, "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5, max=100\r\n"
     "Content-Length: 2\r\n\r\nok",
     "200 OK len=2 timeout=5 {ok} | end")
CASE("response keep-alive case", GET, "HTTP/1.1 200 OK\r\nKeep-Alive: max=1,TIMEOUT=7\r\nContent-Length: 0\r\n\r\n",
     "200 OK len=0 timeout=7 {} | end")
CASE("response keep-alive zero", GET, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 0\r\n\r\n",
     "200 OK len=0 close {} | close")
CASE("response keep-alive huge", GET, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=999999999\r\nContent-Length: 0\r\n\r\n",
     "200 OK len=0 timeout=86400 {} | end")
CASE("response keep-alive too many digits", GET, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=9999999999\r\nContent-Length: 0\r\n\r\n",
     "200 OK len=0 {} | end")
CASE("response keep-alive junk", GET, "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5s, timeout, 5\r\nContent-Length: 0\r\n\r\n",
     "200 OK len=0 {} | end")
CASE("response connection malformed", GET, "HTTP/1.1 200 OK\r\nConnection: a b\r\nContent-Length: 0\r\n\r\n",
     "200 OK len=0 doubtful close {} | close")
CASE("response connection names", GET, "HTTP/1.1 200 OK\r\nConnection: X\r\nX: 1\r\nSet-Cookie: a\r\nContent-Length: 0\r\n\r\n",
     "200 OK len=0 [Set-Cookie=a] {} | end")
CASE("response connection cookies", GET, "HTTP/1.1 200 OK\r\nConnection: Set-Cookie, Content-Type\r\nSet-Cookie: a\r\n"
     "Content-Type: b\r\nContent-Length: 0\r\n\r\n",
     "200 OK len=0 [Set-Cookie=a] [Content-Type=b] {} | end")
CASE("response hop fields", GET, "HTTP/1.1 200 OK\r\nProxy-Authenticate: x\r\nUpgrade: h2c\r\nTrailer: X\r\n"
     "Server: s\r\nContent-Length: 0\r\n\r\n",
     "200 OK len=0 [Trailer=X] [Server=s] {} | end")
CASE("response 1.0 keep-alive", GET, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n"
     "okHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
     "200 OK 1.0 len=2 {ok} | 200 OK len=2 {ok} | end")
CASE("response 1.0 keep-alive no length", GET, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nok",
     "200 OK 1.0 close {ok} | fin")
CASE("response 204", GET, "HTTP/1.1 204 X\r\n\r\n",
     "204 X {} | end")
CASE("response 204 length 0", GET, "HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n",
     "204 X announced=0 {} | end")
CASE("response 204 length 5", GET, "HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\n",
     "204 X announced=5 doubtful close {} | close")
CASE("response 204 chunked", GET, "HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n",
     "204 X doubtful close {} | close")
CASE("response 204 both", GET, "HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
     "error response_framing")
CASE("response 204 bad length", GET, "HTTP/1.1 204 X\r\nContent-Length: x\r\n\r\n",
     "error response_framing")
CASE("response 304", GET, "HTTP/1.1 304 X\r\n\r\n",
     "304 X {} | end")
CASE("response 304 length 0", GET, "HTTP/1.1 304 X\r\nContent-Length: 0\r\n\r\n",
     "304 X announced=0 {} | end")
CASE("response 304 length 5", GET, "HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n",
     "304 X announced=5 {} | end")
CASE("response 304 chunked", GET, "HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\n\r\n",
     "304 X {} | end")
CASE("response 304 both", GET, "HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
     "error response_framing")
CASE("response 304 bad length", GET, "HTTP/1.1 304 X\r\nContent-Length: x\r\n\r\n",
     "error response_framing")
CASE("response 205", GET, "HTTP/1.1 205 X\r\n\r\n",
     "205 X close {} | fin")
CASE("response 205 length 0", GET, "HTTP/1.1 205 X\r\nContent-Length: 0\r\n\r\n",
     "205 X len=0 {} | end")
CASE("response 205 length 5", GET, "HTTP/1.1 205 X\r\nContent-Length: 5\r\n\r\n",
     "205 X len=5 {} | body")
CASE("response 205 chunked", GET, "HTTP/1.1 205 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "205 X chunked {} | end")
CASE("response 205 both", GET, "HTTP/1.1 205 X\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
     "error response_framing")
CASE("response 205 bad length", GET, "HTTP/1.1 205 X\r\nContent-Length: x\r\n\r\n",
     "error response_framing")
CASE("response 100", GET, "HTTP/1.1 100 X\r\n\r\n",
     "100 X {} | end")
CASE("response 100 length 0", GET, "HTTP/1.1 100 X\r\nContent-Length: 0\r\n\r\n",
     "100 X announced=0 {} | end")
CASE("response 100 length 5", GET, "HTTP/1.1 100 X\r\nContent-Length: 5\r\n\r\n",
     "100 X announced=5 doubtful close {} | end")
CASE("response 100 chunked", GET, "HTTP/1.1 100 X\r\nTransfer-Encoding: chunked\r\n\r\n",
     "100 X doubtful close {} | end")
CASE("response 100 both", GET, "HTTP/1.1 100 X\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
     "error response_framing")
CASE("response 100 bad length", GET, "HTTP/1.1 100 X\r\nContent-Length: x\r\n\r\n",
     "error response_framing")
CASE("response 103", GET, "HTTP/1.1 103 X\r\n\r\n",
     "103 X {} | end")
CASE("response 103 length 0", GET, "HTTP/1.1 103 X\r\nContent-Length: 0\r\n\r\n",
     "103 X announced=0 {} | end")
CASE("response 103 length 5", GET, "HTTP/1.1 103 X\r\nContent-Length: 5\r\n\r\n",
     "103 X announced=5 doubtful close {} | end")
CASE("response 103 chunked", GET, "HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\n\r\n",
     "103 X doubtful close {} | end")
CASE("response 103 both", GET, "HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
     "error response_framing")
CASE("response 103 bad length", GET, "HTTP/1.1 103 X\r\nContent-Length: x\r\n\r\n",
     "error response_framing")
CASE("response head nothing", HEAD, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
     "200 OK {} | 200 OK announced=2 {} | end")
CASE("response head chunked", HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\n"
     "Content-Length: 2\r\n\r\n",
     "200 OK {} | 200 OK announced=2 {} | end")
CASE("response head both", HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"
     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
     "error response_framing")
CASE("response head length", HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
     "\r\n",
     "200 OK announced=9 {} | 200 OK announced=2 {} | end")
CASE("response 101", UPGRADE, "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw",
     "101 X close upgrade=websocket | tunnel")
CASE("response 101 not asked", GET, "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw",
     "error upgrade_unexpected")
CASE("response 101 no protocol", UPGRADE, "HTTP/1.1 101 X\r\n\r\nraw",
     "error upgrade_unexpected")
CASE("response 101 no connection", UPGRADE, "HTTP/1.1 101 X\r\nUpgrade: a\r\n\r\nraw",
     "error upgrade_unexpected")
CASE("response 101 1.0", UPGRADE, "HTTP/1.0 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nraw",
     "error upgrade_unexpected")
CASE("response 101 length 5", UPGRADE, "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
     "Content-Length: 5\r\n\r\nraw",
     "error upgrade_unexpected")
CASE("response 101 length 0", UPGRADE, "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
     "Content-Length: 0\r\n\r\nraw",
     "101 X announced=0 close upgrade=websocket | tunnel")
CASE("response 101 chunked", UPGRADE, "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
     "Transfer-Encoding: chunked\r\n\r\nraw",
     "error upgrade_unexpected")
CASE("response 101 refused", UPGRADE, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
     "200 OK len=2 {ok} | end")
CASE("response connect", CONNECT, "HTTP/1.1 200 OK\r\n\r\nraw",
     "200 OK close | tunnel")
CASE("response connect refused", CONNECT, "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nok",
     "403 No len=2 {ok} | end")
CASE("response connect length", CONNECT, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
     "200 OK announced=2 close | tunnel")
