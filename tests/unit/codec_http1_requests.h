/* codec_http1_requests.h: request streams and what each means: CASE(name, bytes, trace), see codec_http1_trace.h.
 *
 * Two in three must be refused: framing that can be read in two ways, lines that do not end where they should, targets
 * and hosts with two readings, chunks that are not chunks. Those marked "llhttp" come from the test corpus of
 * nodejs/llhttp (MIT), with a Host added so that they fail for their own reason. */
CASE("framing clte", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
     "error bad_framing")
CASE("framing cl dup diff", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nContent-Length: 36\r\n\r\n"
     "GET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_framing")
CASE("framing cl dup same", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"
     "hello",
     "error bad_framing")
CASE("framing cl list diff", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5, 44\r\n\r\n"
     "helloGET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_framing")
CASE("framing cl plus", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: +5\r\n\r\nhello",
     "error bad_framing")
CASE("framing cl minus", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: -5\r\n\r\nhello",
     "error bad_framing")
CASE("framing cl hex", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0x5\r\n\r\nhello",
     "error bad_framing")
CASE("framing cl inner space", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4 4\r\n\r\n"
     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
     "error bad_framing")
CASE("framing cl empty", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: \r\n\r\nGET /evil HTTP/1.1\r\n"
     "Host: a.test\r\n\r\n",
     "error bad_framing")
CASE("framing cl overflow64", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 18446744073709551621\r\n\r\n"
     "hello",
     "error bad_framing")
CASE("framing cl wrap 2p64", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 18446744073709551616\r\n\r\n"
     "GET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_framing")
CASE("framing cl leading zeros", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0005\r\n\r\nhello",
     "POST /t a.test len=5 {hello} | end")
CASE("framing cl ows", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: \t 5 \t\r\n\r\nhello",
     "POST /t a.test len=5 {hello} | end")
CASE("framing cl space name", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length : 5\r\n\r\nhello",
     "error bad_request")
CASE("framing get cl body", "GET /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 36\r\n\r\nGET /evil HTTP/1.1\r\n"
     "Host: a.test\r\n\r\n",
     "GET /t a.test len=36 {GET /evil HTTP/1.1\\x0d\\x0aHost: a.test\\x0d\\x0a\\x0d\\x0a} | end")
CASE("framing te xchunked", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
     "error not_implemented")
CASE("framing te xchunked cl", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: xchunked\r\n"
     "Content-Length: 5\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("framing te chunked identity", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n"
     "\r\n",
     "error bad_framing")
CASE("framing te gzip chunked", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
     "error not_implemented")
CASE("framing te dup lines", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("framing te leading comma cl", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: ,chunked\r\n"
     "Content-Length: 5\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("framing te params", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked;a=b\r\n"
     "Content-Length: 5\r\n\r\nhello",
     "error bad_framing")
CASE("framing te empty cl", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: \r\nContent-Length: 5\r\n\r\n"
     "hello",
     "error bad_framing")
CASE("framing te vtab", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: \013chunked\r\n"
     "Content-Length: 5\r\n\r\nhello",
     "error bad_request")
CASE("framing te a0", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: \240chunked\r\n"
     "Content-Length: 5\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("framing te space colon", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding : chunked\r\n"
     "Content-Length: 5\r\n\r\n0\r\n\r\n",
     "error bad_request")
CASE("framing te underscore", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer_Encoding: chunked\r\n"
     "Content-Length: 5\r\n\r\n0\r\n\r\n",
     "POST /t a.test len=5 [Transfer_Encoding=chunked] {0\\x0d\\x0a\\x0d\\x0a} | end")
CASE("framing te obsfold", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding:\r\n chunked\r\n"
     "Content-Length: 5\r\n\r\n0\r\n\r\n",
     "error bad_request")
CASE("framing te http10", "POST /t HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
     "\r\n",
     "error bad_framing")
CASE("framing http10 nocl body", "POST /t HTTP/1.0\r\nHost: a.test\r\n\r\nGET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "POST /t a.test 1.0 close {} | close")
CASE("framing te upper", "POST /t HTTP/1.1\r\nHOST: a.test\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n"
     "\r\n",
     "POST /t a.test chunked {hello} | end")
CASE("framing te get chunked", "GET /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
     "\r\n",
     "GET /t a.test chunked {hello} | end")
CASE("framing conn te", "POST /t HTTP/1.1\r\nHost: a.test\r\nConnection: Transfer-Encoding\r\n"
     "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
     "POST /t a.test chunked {hello} | end")
CASE("framing post cl0 pipelined", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\nGET /t HTTP/1.1\r\n"
     "Host: a.test\r\n\r\n",
     "POST /t a.test len=0 {} | GET /t a.test {} | end")
CASE("lines lf all", "GET /t HTTP/1.1\nHost: a.test\n\n",
     "error bad_request")
CASE("lines lf in value", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\nb\r\n\r\n",
     "error bad_request")
CASE("lines cr in value", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n"
     "X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "error bad_request")
CASE("lines cr only", "GET /t HTTP/1.1\rHost: a.test\r\r",
     "error bad_request")
CASE("lines crlfcr x", "GET /t HTTP/1.1\r\nHost: a.test\r\n\rXGET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("lines nul value", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\000b\r\n\r\n",
     "error bad_request")
CASE("lines nul name", "GET /t HTTP/1.1\r\nHost: a.test\r\nX\000Y: a\r\n\r\n",
     "error bad_request")
CASE("lines htab value", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\tb\r\n\r\n",
     "GET /t a.test [X=a\\x09b] {} | end")
CASE("lines obstext value", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: caf\351\r\n\r\n",
     "GET /t a.test [X=caf\\xe9] {} | end")
CASE("lines obstext name", "GET /t HTTP/1.1\r\nHost: a.test\r\nX\205: a\r\n\r\n",
     "error bad_request")
CASE("lines empty name", "GET /t HTTP/1.1\r\nHost: a.test\r\n: x\r\n\r\n",
     "error bad_request")
CASE("lines no colon", "GET /t HTTP/1.1\r\nHost: a.test\r\nJunkLine\r\n\r\n",
     "error bad_request")
CASE("lines ws before first", "GET /t HTTP/1.1\r\n X: y\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("lines obsfold", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\r\n b\r\n\r\n",
     "error bad_request")
CASE("lines leading crlf", "\r\n\r\nGET /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /t a.test {} | end")
CASE("lines empty value", "GET /t HTTP/1.1\r\nHost: a.test\r\nX-Empty:\r\nX-Next: 1\r\n\r\n",
     "GET /t a.test [X-Empty=] [X-Next=1] {} | end")
CASE("lines nospace after colon", "GET /t HTTP/1.1\r\nHost:a.test\r\nX:y\r\n\r\n",
     "GET /t a.test [X=y] {} | end")
CASE("lines second invalid", "GET /t HTTP/1.1\r\nHost: a.test\r\n\r\nGARBAGE\r\n\r\n",
     "GET /t a.test {} | error bad_request")
CASE("target no host", "GET /t HTTP/1.1\r\n\r\n",
     "error bad_host")
CASE("target dup host diff", "GET /t HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
     "error bad_host")
CASE("target host comma", "GET /t HTTP/1.1\r\nHost: a.test,b.test\r\n\r\n",
     "error bad_host")
CASE("target host space", "GET /t HTTP/1.1\r\nHost: a.test b.test\r\n\r\n",
     "error bad_host")
CASE("target host empty", "GET /t HTTP/1.1\r\nHost:\r\n\r\n",
     "error bad_host")
CASE("target abs conflict", "GET http://a.test/t HTTP/1.1\r\nHost: b.test\r\n\r\n",
     "error bad_host")
CASE("target abs", "GET http://a.test/t?q=1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /t?q=1 a.test absolute {} | end")
CASE("target abs root", "GET http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET / a.test absolute {} | end")
CASE("target http10 nohost", "GET /t HTTP/1.0\r\n\r\n",
     "GET /t  1.0 close {} | close")
CASE("target two spaces", "GET  /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target space target", "GET /a b HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target nul target", "GET /a\000b HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target fragment", "GET /t#frag HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target crlf pct", "GET /t%0d%0aX:%20y HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /t%0d%0aX:%20y a.test {} | end")
CASE("target relative", "GET t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target options star", "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "OPTIONS * a.test asterisk {} | end")
CASE("target ver 20", "GET /t HTTP/2.0\r\nHost: a.test\r\n\r\n",
     "error version")
CASE("target ver 09", "GET /t\r\n",
     "error bad_request")
CASE("target h2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\000\000\000\004\000\000\000\000\000",
     "error bad_request")
CASE("target method bad", "G=\"x<>\" /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target method lower", "get /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "get /t a.test {} | end")
CASE("target connect", "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\nGET /evil HTTP/1.1\r\n"
     "Host: a.test\r\n\r\n",
     "CONNECT a.test:80 a.test:80 authority {} | GET /evil a.test {} | end")
CASE("target tls hello", "\026\003\001\002\000\001\000\001\374\003\003AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
     "error bad_request")
CASE("chunked size plus", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n"
     "0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunked size 0x", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n"
     "0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunked size underscore", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0_2e\r\n\r\n"
     "GET /evil HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunked size empty", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n"
     "GET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunked size nonhex", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nZ\r\nhello\r\n0\r\n"
     "\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunked size trail space", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n"
     "0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunked size overflow64", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
     "10000000000000005\r\nhello\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunked size overflow32", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n100000005\r\n"
     "hello\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "POST /t a.test chunked {hello\\x0d\\x0a0\\x0d\\x0a\\x0d\\x0aGET /evil HTTP/1.1\\x0d\\x0aHost: a.te"
     "st\\x0d\\x0a\\x0d\\x0a} | body")
CASE("chunked size lead zeros", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n000005\r\n"
     "hello\r\n000\r\n\r\n",
     "POST /t a.test chunked {hello} | end")
CASE("chunked size upper", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n"
     "0123456789\r\n0\r\n\r\n",
     "POST /t a.test chunked {0123456789} | end")
CASE("chunked lf after size", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n"
     "\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunked lf after data", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n"
     "\r\n",
     "POST /t a.test chunked {hello} | error bad_chunk")
CASE("chunked cr after size", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\rhello\r\n0\r\n"
     "\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunked crx after size", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\r;ABCD\r\n"
     "34\r\nE\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunked data 2 any", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n"
     "\r\nGET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "POST /t a.test chunked {hello} | error bad_chunk")
CASE("chunked spill", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
     "helloEXTRA\r\n0\r\n\r\n",
     "POST /t a.test chunked {hello} | error bad_chunk")
CASE("chunked ext", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
     "5;a=b;c=\"d;e\"\r\nhello\r\n0;z\r\n\r\n",
     "POST /t a.test chunked {hello} | end")
CASE("chunked ext lf", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\n29\r\n"
     "0\r\n\r\nGET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunked trailer", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
     "X-T: 1\r\n\r\n",
     "POST /t a.test chunked {hello} <X-T=1> | end")
CASE("chunked trailer cl", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
     "Content-Length: 36\r\nTransfer-Encoding: chunked\r\nHost: evil\r\n\r\n",
     "POST /t a.test chunked {hello} | end")
CASE("chunked trailer looks like req", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
     "X:GET /evil HTTP/1.1\r\n\r\n",
     "POST /t a.test chunked {hello} <X=GET /evil HTTP/1.1> | end")
CASE("chunked trailer lf end", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
     "\nGET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "POST /t a.test chunked {hello} | error bad_chunk")
CASE("chunked garbage after last", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
     "\r\nGARBAGE\r\n\r\n",
     "POST /t a.test chunked {hello} | error bad_request")
CASE("chunked no last eof", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
     "POST /t a.test chunked {hello} | body")
CASE("chunked invalid then next", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nINVALID!!!\r\n"
     "GET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("expect ok", "POST /t HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
     "POST /t a.test len=5 expect [Expect=100-continue] {} | body")
CASE("expect get cl", "GET /t HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 36\r\n\r\n"
     "GET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /t a.test len=36 expect [Expect=100-continue] {GET /evil HTTP/1.1\\x0d\\x0aHost: a.test\\"
     "x0d\\x0a\\x0d\\x0a} | end")
CASE("expect options obsfold", "OPTIONS /t HTTP/1.1\r\nHost: a.test\r\nExpect:\r\n 100-continue\r\n"
     "Content-Length: 36\r\n\r\nGET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("expect http10", "POST /t HTTP/1.0\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
     "hello",
     "POST /t a.test 1.0 len=5 close {hello} | close")
CASE("upgrade h2c", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\n"
     "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
     "GET /t a.test upgrade=h2c {} | end")
CASE("upgrade premature", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"
     "GET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /t a.test upgrade=foo {} | GET /evil a.test {} | end")
CASE("upgrade cl body", "POST /t HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
     "Content-Length: 36\r\n\r\nGET /evil HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "POST /t a.test len=36 [Sec-WebSocket-Key=dGhlIHNhbXBsZSBub25jZQ==] [Sec-WebSocket-Version="
     "13] {GET /evil HTTP/1.1\\x0d\\x0aHost: a.test\\x0d\\x0a\\x0d\\x0a} | end")
CASE("upgrade ws", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
     "GET /t a.test upgrade=websocket [Sec-WebSocket-Key=dGhlIHNhbXBsZSBub25jZQ==] [Sec-WebSocke"
     "t-Version=13] {} | end")
CASE("hop conn xff", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: close, X-Forwarded-For\r\n"
     "X-Forwarded-For: 6.6.6.6\r\n\r\n",
     "GET /t a.test close [X-Forwarded-For=6.6.6.6] {} | close")
CASE("hop conn custom", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: X-Foo\r\nX-Foo: 1\r\n\r\n",
     "GET /t a.test {} | end")
CASE("hop hopset", "GET /t HTTP/1.1\r\nHost: a.test\r\nKeep-Alive: timeout=5\r\n"
     "Proxy-Connection: keep-alive\r\nTE: gzip\r\nTrailer: X\r\n"
     "Proxy-Authorization: x\r\n\r\n",
     "GET /t a.test [Trailer=X] {} | end")
CASE("hop proxy header", "GET /t HTTP/1.1\r\nHost: a.test\r\nProxy: http://evil.test\r\n\r\n",
     "GET /t a.test {} | end")
CASE("hop underscore xff", "GET /t HTTP/1.1\r\nHost: a.test\r\nX_Forwarded_For: 6.6.6.6\r\n\r\n",
     "GET /t a.test [X_Forwarded_For=6.6.6.6] {} | end")
CASE("life pipeline mixed", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\n"
     "helloPOST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
     "world\r\n0\r\n\r\nGET /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "POST /t a.test len=5 {hello} | POST /t a.test chunked {world} | GET /t a.test {} | end")
CASE("life split every byte", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n5;e=f\r\n"
     "hello\r\n0\r\nT: u\r\n\r\nGET /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "POST /t a.test chunked [X=y] {hello} <T=u> | GET /t a.test {} | end")
CASE("life half close body", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello",
     "POST /t a.test len=10 {hello} | body")
CASE("life close then more", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\nGET /evil HTTP/1.1\r\n"
     "Host: a.test\r\n\r\n",
     "GET /t a.test close {} | close")
CASE("llhttp connection 06", "PUT /url HTTP/1.1\r\nHost: a.test\r\nConnection: keep\ralive\r\n\r\n",
     "error bad_request")
CASE("llhttp connection 16", "PUT /url HTTP/1.1\r\nHost: a.test\r\nConnection : upgrade\r\nContent-Length: 4\r\n"
     "Upgrade: ws\r\n\r\nabcdefgh",
     "error bad_request")
CASE("llhttp content length 05", "PUT /url HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n"
     "Transfer-Encoding: identity\r\n\r\n",
     "error bad_framing")
CASE("llhttp content length 06", "PUT /url HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nContent-Length : 4\r\n"
     "Upgrade: ws\r\n\r\nabcdefgh",
     "error bad_request")
CASE("llhttp content length 12", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4 2\r\n\r\n",
     "error bad_framing")
CASE("llhttp content length 13", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 13 37\r\n\r\n",
     "error bad_framing")
CASE("llhttp content length 14", "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length:\r\n\r\n",
     "error bad_framing")
CASE("llhttp content length 15", "PUT /url HTTP/1.1\r\nHost: a.test\r\nContent\rLength: 003\r\n\r\nabc",
     "error bad_request")
CASE("llhttp content length 17", "PUT /url HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\rabc",
     "error bad_request")
CASE("llhttp invalid 01", "GET /music/sweet/music ICE/1.0\r\nHost: example.com\r\n\r\n",
     "error bad_request")
CASE("llhttp invalid 02", "GET /music/sweet/music IHTTP/1.0\r\nHost: example.com\r\n\r\n",
     "error bad_request")
CASE("llhttp invalid 03", "PUT /music/sweet/music RTSP/1.0\r\nHost: example.com\r\n\r\n",
     "error bad_request")
CASE("llhttp invalid 05", "GET / HTTP/1.1\r\nHost: a.test\r\nFoo: 1\rBar: 2\r\n\r\n",
     "error bad_request")
CASE("llhttp invalid 06", "POST / HTTP/1.1\r\nHost: localhost:5000\r\nx:x\nTransfer-Encoding: chunked\r\n\r\n"
     "1\r\nA\r\n0\r\n",
     "error bad_request")
CASE("llhttp invalid 07", "GET / HTTP/1.1\r\nConnection: close\r\nHost: a\r\n\rZGET /evil: HTTP/1.1\r\n"
     "Host: a\r\n",
     "error bad_request")
CASE("llhttp invalid 09", "POST / HTTP/1.1\r\nConnection: Close\r\nHost: localhost:5000\r\n"
     "x:\rTransfer-Encoding: chunked\r\n\r\n1\r\nA\r\n0\r\n",
     "error bad_request")
CASE("llhttp invalid 10", "POST / HTTP/1.1\r\nHost: localhost:5000\r\nx:\nTransfer-Encoding: chunked\r\n\r\n1\r\n"
     "A\r\n0\r\n",
     "error bad_request")
CASE("llhttp invalid 11", "GET / HTTP/1.1\r\nHost: a.test\r\nFo@: Failure\r\n\r\n",
     "error bad_request")
CASE("llhttp invalid 12", "GET / HTTP/1.1\r\nHost: a.test\r\nFoo\001\test: Bar\r\n\r\n",
     "error bad_request")
CASE("llhttp invalid 13", "GET / HTTP/1.1\r\nHost: a.test\r\n: Bar\r\n\r\n",
     "error bad_request")
CASE("llhttp invalid 14", "MKCOLA / HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "MKCOLA / a.test {} | end")
CASE("llhttp invalid 15", "GET / HTTP/1.1\r\nHost: a.test\r\nname\r\n : value\r\n\r\n",
     "error bad_request")
CASE("llhttp invalid 16", "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection\r\0335\325eep-Alive\r\n"
     "Accept-Encoding: gzip\r\n\r\n",
     "error bad_request")
CASE("llhttp invalid 17", "GET / HTTP/1.1\r\nHost: www.example.com\r\nX-Some-Header\r\0335\325eep-Alive\r\n"
     "Accept-Encoding: gzip\r\n\r\n",
     "error bad_request")
CASE("llhttp invalid 18", "GET / HTTP/1.1\r\nHost: localhost\r\nDummy: x\nContent-Length: 23\r\n\r\n"
     "GET / HTTP/1.1\r\nDummy: GET /admin HTTP/1.1\r\nHost: localhost\r\n\r\n",
     "error bad_request")
CASE("llhttp invalid 20", "GET / HTTP/1.1\r\n Host: foo",
     "error bad_request")
CASE("llhttp invalid 21", "POST / HTTP/1.1\nTransfer-Encoding: chunked\nTrailer: Baz\r\nFoo: abc\nBar: def\n"
     "\n1\nA\n1;abc\nB\n1;def=ghi\nC\n1;jkl=\"mno\"\nD\n0\n\nBaz: ghi\n\n\\",
     "error bad_request")
CASE("llhttp invalid 23", "POST /hello HTTP/1.1\r\nHost: localhost\r\nFoo: bar\r\n Content-Length: 38\r\n\r\n"
     "GET /bye HTTP/1.1\r\nHost: localhost\r\n\r\n",
     "error bad_request")
CASE("llhttp lenient header value relaxed 02", "GET /url HTTP/1.1\r\nHost: a.test\r\nHeader1: hello\014world\r\n\r\n",
     "error bad_request")
CASE("llhttp lenient headers 03", "GET /url HTTP/1.1\r\nHost: a.test\r\nHeader1: \014\r\n\r\n\r\n",
     "error bad_request")
CASE("llhttp sample 12", "GET / HTTP/1.1\r\nHost: a.test\r\nLine1:   abc\n\tdef\n ghi\n\t\tjkl\n  mno \n\t \tqrs\n"
     "Line2: \t line2\t\nLine3:\n line3\nLine4: \n \nConnection:\n close\n\n",
     "error bad_request")
CASE("llhttp sample 13", "GET / HTTP/1.1\rLine: 1\r\n",
     "error bad_request")
CASE("llhttp transfer encoding 08", "POST /chunked_w_unicorns_after_length HTTP/1.1\r\nHost: localhost\r\n"
     "Transfer-encoding: chunked\r\n\r\n2 erfrferferf\r\naa\r\n0 rrrr\r\n\r\n",
     "POST /chunked_w_unicorns_after_length localhost chunked {} | error bad_chunk")
CASE("llhttp transfer encoding 09", "POST /chunked_w_unicorns_after_length HTTP/1.1\r\nHost: localhost\r\n"
     "Transfer-encoding: chunked\r\n\r\n2;\r\naa\r\n0\r\n\r\n",
     "POST /chunked_w_unicorns_after_length localhost chunked {} | error bad_chunk")
CASE("llhttp transfer encoding 11", "POST /chunked_w_unicorns_after_length HTTP/1.1\r\nHost: a.test\r\n"
     "Transfer-Encoding: chunked\r\n\r\n5;ilovew3=\"abc\";somuchlove=\"def; ghi\r\nhello\r\n"
     "6;blahblah;blah\r\n world\r\n0\r\n",
     "POST /chunked_w_unicorns_after_length a.test chunked {} | error bad_chunk")
CASE("llhttp transfer encoding 12", "PUT /url HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: pigeons\r\n\r\n",
     "error not_implemented")
CASE("llhttp transfer encoding 13", "POST /post_identity_body_world?q=search HTTP/1.1\r\nHost: a.test\r\n"
     "Accept: */*\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nWorld",
     "error bad_framing")
CASE("llhttp transfer encoding 15", "POST / HTTP/1.1\r\nHost: foo\r\nContent-Length: 10\r\nTransfer-Encoding:\r\n"
     "Transfer-Encoding:\r\nTransfer-Encoding:\r\n\r\n2\r\nAA\r\n0",
     "error bad_framing")
CASE("llhttp transfer encoding 16", "POST /post_identity_body_world?q=search HTTP/1.1\r\nHost: a.test\r\n"
     "Accept: */*\r\nTransfer-Encoding: chunked, deflate\r\n\r\nWorld",
     "error bad_framing")
CASE("llhttp transfer encoding 17", "POST /post_identity_body_world?q=search HTTP/1.1\r\nHost: a.test\r\n"
     "Accept: */*\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: deflate\r\n\r\n"
     "World",
     "error bad_framing")
CASE("llhttp transfer encoding 22", "POST /post_identity_body_world?q=search HTTP/1.1\r\nHost: a.test\r\n"
     "Accept: */*\r\nTransfer-Encoding: chunkedchunked\r\n\r\n5\r\nWorld\r\n0\r\n\r\n",
     "error not_implemented")
CASE("llhttp transfer encoding 23", "PUT /url HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nfoo\r\n\r\n",
     "PUT /url a.test chunked {foo} | error bad_chunk")
CASE("llhttp transfer encoding 24", "PUT /url HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3 \n  \r\nfoo\r\n"
     "\r\n",
     "PUT /url a.test chunked {} | error bad_chunk")
CASE("llhttp transfer encoding 26", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close \r\nTransfer-Encoding: chunked \r\n"
     "\r\n5\r\r;ABCD\r\n34\r\nE\r\n0\r\n\r\nGET / HTTP/1.1 \r\nHost: a\r\nContent-Length: 5\r\n\r\n0\r\n",
     "GET / a chunked close {} | error bad_chunk")
CASE("llhttp transfer encoding 28", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close \r\nTransfer-Encoding: chunked \r\n"
     "\r\n5\r\nABCDE0\r\n",
     "GET / a chunked close {ABCDE} | error bad_chunk")
CASE("llhttp transfer encoding 30", "PUT /url HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\na \r\n"
     "0123456789\r\n0\r\n\r\n",
     "PUT /url a.test chunked {} | error bad_chunk")
CASE("llhttp uri 07", "GET /\316\264\302\266/\316\264t/pope?q=1 HTTP/1.1\r\nHost: github.com\r\n\r\n",
     "error bad_request")
CASE("llhttp uri 11", "GET /foo bar/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("version HTTP/1.2", "GET /t HTTP/1.2\r\nHost: a.test\r\n\r\n",
     "error version")
CASE("version HTTP/0.9", "GET /t HTTP/0.9\r\nHost: a.test\r\n\r\n",
     "error version")
CASE("version HTTP/3.0", "GET /t HTTP/3.0\r\nHost: a.test\r\n\r\n",
     "error version")
CASE("version HTTP/1.10", "GET /t HTTP/1.10\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("version HTTP/11.1", "GET /t HTTP/11.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("version HTTP/1", "GET /t HTTP/1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("version http/1.1", "GET /t http/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("version HTTP/1.1 ", "GET /t HTTP/1.1 \r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("version HTTP /1.1", "GET /t HTTP /1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("version HTTP/1,1", "GET /t HTTP/1,1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("version HTTP/1.x", "GET /t HTTP/1.x\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("version FTP/1.1", "GET /t FTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("version 1.0", "GET /t HTTP/1.0\r\nHost: a.test\r\n\r\n",
     "GET /t a.test 1.0 close {} | close")
CASE("version 1.0 keep-alive", "GET /t HTTP/1.0\r\nHost: a.test\r\nConnection: Keep-Alive\r\n\r\nGET /t HTTP/1.1\r\n"
     "Host: a.test\r\n\r\n",
     "GET /t a.test 1.0 {} | GET /t a.test {} | end")
CASE("version 1.0 keep-alive and close", "GET /t HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive, close\r\n\r\n",
     "GET /t a.test 1.0 close {} | close")
CASE("empty line one", "\r\nGET /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /t a.test {} | end")
CASE("empty lines three", "\r\n\r\n\r\nGET /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("empty line bare LF", "\nGET /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("empty line CR only", "\rGET /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("empty line between", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nab\r\nGET /t HTTP/1.1\r\n"
     "Host: a.test\r\n\r\n",
     "POST /t a.test len=2 {ab} | GET /t a.test {} | end")
CASE("empty lines and nothing", "\r\n\r\n",
     "head")
CASE("space before method", " GET /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("tab after method", "GET\t/t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("method GET", "GET /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /t a.test {} | end")
CASE("method HEAD", "HEAD /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "HEAD /t a.test {} | end")
CASE("method POST", "POST /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "POST /t a.test {} | end")
CASE("method PUT", "PUT /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "PUT /t a.test {} | end")
CASE("method DELETE", "DELETE /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "DELETE /t a.test {} | end")
CASE("method OPTIONS", "OPTIONS /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "OPTIONS /t a.test {} | end")
CASE("method TRACE", "TRACE /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "TRACE /t a.test {} | end")
CASE("method PATCH", "PATCH /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "PATCH /t a.test {} | end")
CASE("method PROPFIND", "PROPFIND /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "PROPFIND /t a.test {} | end")
CASE("method gEt", "gEt /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "gEt /t a.test {} | end")
CASE("method M-SEARCH", "M-SEARCH /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "M-SEARCH /t a.test {} | end")
CASE("method 64 bytes", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA /t HTTP/1.1\r\n"
     "Host: a.test\r\n\r\n",
     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA /t a.test {} | end")
CASE("method 65 bytes", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA /t HTTP/1.1\r\n"
     "Host: a.test\r\n\r\n",
     "error not_implemented")
CASE("method empty", " /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("method slash", "G/T /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET / a.test {} | end")
CASE("target //", "GET // HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET // a.test {} | end")
CASE("target //evil.test/x", "GET //evil.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET //evil.test/x a.test {} | end")
CASE("target /a?", "GET /a? HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /a? a.test {} | end")
CASE("target /a?\?b=/?", "GET /a?\?b=/? HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /a?\?b=/? a.test {} | end")
CASE("target /%41%c3%A9", "GET /%41%c3%A9 HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /%41%c3%A9 a.test {} | end")
CASE("target /a;b=c,d&e=(f)!$'*+@:~", "GET /a;b=c,d&e=(f)!$'*+@:~ HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /a;b=c,d&e=(f)!$'*+@:~ a.test {} | end")
CASE("target /a[0]?b[]=1&c={x}|^`", "GET /a[0]?b[]=1&c={x}|^` HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /a[0]?b[]=1&c={x}|^` a.test {} | end")
CASE("target /a?b=\\c", "GET /a?b=\\c HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /a?b=\\c a.test {} | end")
CASE("target /a\\b", "GET /a\\b HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /a\"b", "GET /a\"b HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /a<b", "GET /a<b HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /a>b", "GET /a>b HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /%", "GET /% HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /%4", "GET /%4 HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /%4g", "GET /%4g HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /%g1", "GET /%g1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /a?%zz", "GET /a?%zz HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /a?x%2", "GET /a?x%2 HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /a#", "GET /a# HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /caf<e9>", "GET /caf\351 HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /a<7f>b", "GET /a\177b HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /a<01>b", "GET /a\001b HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target *", "GET * HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target **", "GET ** HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target /a<09>b", "GET /a\tb HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target a.test", "GET a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target http", "GET http HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target http:", "GET http: HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target http:/", "GET http:/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target http://", "GET http:// HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target http:///x", "GET http:///x HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target http://a.test/", "GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET / a.test absolute {} | end")
CASE("target HTTP://A.TEST/x", "GET HTTP://A.TEST/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /x A.TEST absolute {} | end")
CASE("target https://a.test:443/x", "GET https://a.test:443/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /x a.test:443 absolute {} | end")
CASE("target http://a.test:80/x", "GET http://a.test:80/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "GET /x a.test:80 absolute {} | end")
CASE("target http://a.test:443/x", "GET http://a.test:443/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_host")
CASE("target http://a.test:8080/x", "GET http://a.test:8080/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_host")
CASE("target http://a.test?x=1", "GET http://a.test?x=1 HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target http://a.test#f", "GET http://a.test#f HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target http://u@a.test/", "GET http://u@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target http://u:p@a.test/x", "GET http://u:p@a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target http://a.test:/x", "GET http://a.test:/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target http://a.test:99999/", "GET http://a.test:99999/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target http://a.test/x http://b/", "GET http://a.test/x http://b/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target ftp://a.test/x", "GET ftp://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target ws://a.test/", "GET ws://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target http://a%2etest/", "GET http://a%2etest/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("target http://[::1]/x", "GET http://[::1]/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_host")
CASE("target https://b.test/x", "GET https://b.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_host")
CASE("target http://a.test.:80/", "GET http://a.test.:80/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_host")
CASE("target ipv6", "GET http://[::1]:81/x HTTP/1.1\r\nHost: [::1]:81\r\n\r\n",
     "GET /x [::1]:81 absolute {} | end")
CASE("target absolute 1.0 without host", "GET http://a.test/x HTTP/1.0\r\n\r\n",
     "GET /x a.test 1.0 absolute close {} | close")
CASE("target absolute 1.1 without host", "GET http://a.test/x HTTP/1.1\r\n\r\n",
     "error bad_host")
CASE("target absolute host with default port", "GET http://a.test/x HTTP/1.1\r\nHost: A.TEST:80\r\n\r\n",
     "GET /x a.test absolute {} | end")
CASE("target absolute options root", "OPTIONS http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "OPTIONS * a.test absolute asterisk {} | end")
CASE("target absolute options slash", "OPTIONS http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "OPTIONS / a.test absolute {} | end")
CASE("target options path", "OPTIONS /x HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "OPTIONS /x a.test {} | end")
CASE("target asterisk head", "HEAD * HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "error bad_request")
CASE("connect a.test:80", "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
     "CONNECT a.test:80 a.test:80 authority {} | end")
CASE("connect a.test", "CONNECT a.test HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
     "error bad_request")
CASE("connect a.test:", "CONNECT a.test: HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
     "error bad_request")
CASE("connect /x", "CONNECT /x HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
     "error bad_request")
CASE("connect *", "CONNECT * HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
     "error bad_request")
CASE("connect http://a.test/", "CONNECT http://a.test/ HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
     "error bad_request")
CASE("connect [::1]:80", "CONNECT [::1]:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
     "error bad_host")
CASE("connect [::1]", "CONNECT [::1] HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
     "error bad_request")
CASE("connect u@a.test:80", "CONNECT u@a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
     "error bad_request")
CASE("connect b.test:80", "CONNECT b.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n",
     "error bad_host")
CASE("connect ipv6", "CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
     "CONNECT [::1]:80 [::1]:80 authority {} | end")
CASE("host a", "GET /t HTTP/1.1\r\nHost: a\r\n\r\n",
     "GET /t a {} | end")
CASE("host A.Test:80", "GET /t HTTP/1.1\r\nHost: A.Test:80\r\n\r\n",
     "GET /t A.Test:80 {} | end")
CASE("host 127.0.0.1", "GET /t HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
     "GET /t 127.0.0.1 {} | end")
CASE("host 127.0.0.1:65535", "GET /t HTTP/1.1\r\nHost: 127.0.0.1:65535\r\n\r\n",
     "GET /t 127.0.0.1:65535 {} | end")
CASE("host [::1]", "GET /t HTTP/1.1\r\nHost: [::1]\r\n\r\n",
     "GET /t [::1] {} | end")
CASE("host [2001:db8::1]:8080", "GET /t HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n",
     "GET /t [2001:db8::1]:8080 {} | end")
CASE("host [::ffff:1.2.3.4]", "GET /t HTTP/1.1\r\nHost: [::ffff:1.2.3.4]\r\n\r\n",
     "GET /t [::ffff:1.2.3.4] {} | end")
CASE("host a_b.test", "GET /t HTTP/1.1\r\nHost: a_b.test\r\n\r\n",
     "GET /t a_b.test {} | end")
CASE("host a.test.", "GET /t HTTP/1.1\r\nHost: a.test.\r\n\r\n",
     "GET /t a.test. {} | end")
CASE("host xn--caf-dma.test", "GET /t HTTP/1.1\r\nHost: xn--caf-dma.test\r\n\r\n",
     "GET /t xn--caf-dma.test {} | end")
CASE("host ", "GET /t HTTP/1.1\r\nHost: \r\n\r\n",
     "error bad_host")
CASE("host a:", "GET /t HTTP/1.1\r\nHost: a:\r\n\r\n",
     "error bad_host")
CASE("host a:0", "GET /t HTTP/1.1\r\nHost: a:0\r\n\r\n",
     "GET /t a:0 {} | end")
CASE("host a:65536", "GET /t HTTP/1.1\r\nHost: a:65536\r\n\r\n",
     "error bad_host")
CASE("host a:123456", "GET /t HTTP/1.1\r\nHost: a:123456\r\n\r\n",
     "error bad_host")
CASE("host a:8o", "GET /t HTTP/1.1\r\nHost: a:8o\r\n\r\n",
     "error bad_host")
CASE("host :80", "GET /t HTTP/1.1\r\nHost: :80\r\n\r\n",
     "error bad_host")
CASE("host a:1:2", "GET /t HTTP/1.1\r\nHost: a:1:2\r\n\r\n",
     "error bad_host")
CASE("host .a", "GET /t HTTP/1.1\r\nHost: .a\r\n\r\n",
     "error bad_host")
CASE("host a..b", "GET /t HTTP/1.1\r\nHost: a..b\r\n\r\n",
     "error bad_host")
CASE("host .", "GET /t HTTP/1.1\r\nHost: .\r\n\r\n",
     "error bad_host")
CASE("host [::1", "GET /t HTTP/1.1\r\nHost: [::1\r\n\r\n",
     "error bad_host")
CASE("host ::1", "GET /t HTTP/1.1\r\nHost: ::1\r\n\r\n",
     "error bad_host")
CASE("host []", "GET /t HTTP/1.1\r\nHost: []\r\n\r\n",
     "error bad_host")
CASE("host [g::1]", "GET /t HTTP/1.1\r\nHost: [g::1]\r\n\r\n",
     "error bad_host")
CASE("host [::1]x", "GET /t HTTP/1.1\r\nHost: [::1]x\r\n\r\n",
     "error bad_host")
CASE("host [::1%25eth0]", "GET /t HTTP/1.1\r\nHost: [::1%25eth0]\r\n\r\n",
     "error bad_host")
CASE("host [v1.a]", "GET /t HTTP/1.1\r\nHost: [v1.a]\r\n\r\n",
     "error bad_host")
CASE("host u@a", "GET /t HTTP/1.1\r\nHost: u@a\r\n\r\n",
     "error bad_host")
CASE("host a/b", "GET /t HTTP/1.1\r\nHost: a/b\r\n\r\n",
     "error bad_host")
CASE("host a?b", "GET /t HTTP/1.1\r\nHost: a?b\r\n\r\n",
     "error bad_host")
CASE("host a#b", "GET /t HTTP/1.1\r\nHost: a#b\r\n\r\n",
     "error bad_host")
CASE("host a,b", "GET /t HTTP/1.1\r\nHost: a,b\r\n\r\n",
     "error bad_host")
CASE("host a b", "GET /t HTTP/1.1\r\nHost: a b\r\n\r\n",
     "error bad_host")
CASE("host a<09>b", "GET /t HTTP/1.1\r\nHost: a\tb\r\n\r\n",
     "error bad_host")
CASE("host a%41", "GET /t HTTP/1.1\r\nHost: a%41\r\n\r\n",
     "error bad_host")
CASE("host a=5000", "GET /t HTTP/1.1\r\nHost: a=5000\r\n\r\n",
     "error bad_host")
CASE("host a'b", "GET /t HTTP/1.1\r\nHost: a'b\r\n\r\n",
     "error bad_host")
CASE("host a\\b", "GET /t HTTP/1.1\r\nHost: a\\b\r\n\r\n",
     "error bad_host")
CASE("host caf<e9>", "GET /t HTTP/1.1\r\nHost: caf\351\r\n\r\n",
     "error bad_host")
CASE("host a;b", "GET /t HTTP/1.1\r\nHost: a;b\r\n\r\n",
     "error bad_host")
CASE("host <a>", "GET /t HTTP/1.1\r\nHost: <a>\r\n\r\n",
     "error bad_host")
CASE("host a\"", "GET /t HTTP/1.1\r\nHost: a\"\r\n\r\n",
     "error bad_host")
CASE("host http://a", "GET /t HTTP/1.1\r\nHost: http://a\r\n\r\n",
     "error bad_host")
CASE("host twice the same", "GET /t HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
     "error bad_host")
CASE("host two cases", "GET /t HTTP/1.1\r\nHost: a.test\r\nhOsT: a.test\r\n\r\n",
     "error bad_host")
CASE("host 1.0 twice", "GET / HTTP/1.0\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
     "error bad_host")
CASE("host 1.0 empty", "GET / HTTP/1.0\r\nHost: \r\n\r\n",
     "error bad_host")
CASE("host 255 bytes", "GET /t HTTP/1.1\r\n"
     "Host: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
     "\r\n",
     "GET /t aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {} | en"
     "d")
CASE("host 256 bytes", "GET /t HTTP/1.1\r\n"
     "Host: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
     "\r\n",
     "error bad_host")
CASE("field no value", "GET /t HTTP/1.1\r\nHost: a.test\r\nX:\r\n\r\n",
     "GET /t a.test [X=] {} | end")
CASE("field only spaces", "GET /t HTTP/1.1\r\nHost: a.test\r\nX:  \t \r\n\r\n",
     "GET /t a.test [X=] {} | end")
CASE("field inner spaces", "GET /t HTTP/1.1\r\nHost: a.test\r\nX:\t a  b\t \r\n\r\n",
     "GET /t a.test [X=a  b] {} | end")
CASE("field utf8 value", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: caf\303\251 \200\377\r\n\r\n",
     "GET /t a.test [X=caf\\xc3\\xa9 \\x80\\xff] {} | end")
CASE("field tab before colon", "GET /t HTTP/1.1\r\nHost: a.test\r\nX\t: y\r\n\r\n",
     "error bad_request")
CASE("field name with quote", "GET /t HTTP/1.1\r\nHost: a.test\r\nX\"Y: z\r\n\r\n",
     "error bad_request")
CASE("field name with every tchar", "GET /t HTTP/1.1\r\nHost: a.test\r\n!#$%&'*+-.^_`|~09AZaz: y\r\n\r\n",
     "GET /t a.test [!#$%&'*+-.^_`|~09AZaz=y] {} | end")
CASE("field name with slash", "GET /t HTTP/1.1\r\nHost: a.test\r\nX/Y: z\r\n\r\n",
     "error bad_request")
CASE("field name with paren", "GET /t HTTP/1.1\r\nHost: a.test\r\nX(): z\r\n\r\n",
     "error bad_request")
CASE("field del in value", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\177b\r\n\r\n",
     "error bad_request")
CASE("field esc in value", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\033b\r\n\r\n",
     "error bad_request")
CASE("field vtab in value", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\013b\r\n\r\n",
     "error bad_request")
CASE("field cr at end", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\r\r\n\r\n",
     "error bad_request")
CASE("field lf cr", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\n\rY: b\r\n\r\n",
     "error bad_request")
CASE("field fold tab", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\r\n\tb\r\n\r\n",
     "error bad_request")
CASE("field colon in name", "GET /t HTTP/1.1\r\nHost: a.test\r\nX:Y: z\r\n\r\n",
     "GET /t a.test [X=Y: z] {} | end")
CASE("field bare lf end", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\n\r\n",
     "error bad_request")
CASE("field leading tab", "GET /t HTTP/1.1\r\nHost: a.test\r\n\tX: a\r\n\r\n",
     "error bad_request")
CASE("field eight byte edges", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: 1234567\r\nY: 12345678\r\nZ: 123456789\r\n\r\n",
     "GET /t a.test [X=1234567] [Y=12345678] [Z=123456789] {} | end")
CASE("field tab run", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\t\t\t\t\t\t\t\t\tb\r\n\r\n",
     "GET /t a.test [X=a\\x09\\x09\\x09\\x09\\x09\\x09\\x09\\x09\\x09b] {} | end")
CASE("field same name twice", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\r\nx: b\r\n\r\n",
     "GET /t a.test [X=a] [x=b] {} | end")
CASE("field nul after name", "GET /t HTTP/1.1\r\nHost: a.test\r\nX:\000\r\n\r\n",
     "error bad_request")
CASE("field lf ends head", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\r\n\n",
     "error bad_request")
CASE("field cr ends head", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: a\r\n\rGET",
     "error bad_request")
CASE("length 0", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\nx",
     "POST /t a.test len=0 {} | head")
CASE("length 00", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 00\r\n\r\n",
     "POST /t a.test len=0 {} | end")
CASE("length 1", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx",
     "POST /t a.test len=1 {x} | end")
CASE("length 18446744073709551615", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 18446744073709551615\r\n\r\n",
     "POST /t a.test len=18446744073709551615 {} | body")
CASE("length 18446744073709551614", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 18446744073709551614\r\n\r\n",
     "POST /t a.test len=18446744073709551614 {} | body")
CASE("length 18446744073709551616", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 18446744073709551616\r\n\r\n",
     "error bad_framing")
CASE("length 18446744073709551619", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 18446744073709551619\r\n\r\n",
     "error bad_framing")
CASE("length 99999999999999999999", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 99999999999999999999\r\n\r\n",
     "error bad_framing")
CASE("length 184467440737095516150", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 184467440737095516150\r\n\r\n",
     "error bad_framing")
CASE("length 1 ", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1 \r\n\r\nx",
     "POST /t a.test len=1 {x} | end")
CASE("length 1,1", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1,1\r\n\r\n",
     "error bad_framing")
CASE("length 1;", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1;\r\n\r\nx",
     "error bad_framing")
CASE("length 1.0", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1.0\r\n\r\n",
     "error bad_framing")
CASE("length 1e3", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1e3\r\n\r\n",
     "error bad_framing")
CASE("length 0x1", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0x1\r\n\r\n",
     "error bad_framing")
CASE("length +0", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: +0\r\n\r\nx",
     "error bad_framing")
CASE("length -0", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: -0\r\n\r\nx",
     "error bad_framing")
CASE("length <b2>", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: \262\r\n\r\nx",
     "error bad_framing")
CASE("length 1_0", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1_0\r\n\r\n",
     "error bad_framing")
CASE("length '1'", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: '1'\r\n\r\n",
     "error bad_framing")
CASE("length 1a", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1a\r\n\r\nx",
     "error bad_framing")
CASE("coding chunked", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | end")
CASE("coding Chunked", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | end")
CASE("coding  chunked<09>", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding:  chunked\t\r\n\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | end")
CASE("coding chunked,", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding chunked, chunked", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n"
     "\r\n",
     "error bad_framing")
CASE("coding chunked,chunked", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked,chunked\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding , chunked", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding chunked;", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked;\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding chunked;x=y", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked;x=y\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding \"chunked\"", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding chunked chunked", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked chunked\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding identity", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
     "error not_implemented")
CASE("coding gzip", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
     "error not_implemented")
CASE("coding gzip, chunked", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
     "error not_implemented")
CASE("coding gzip,chunked", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip,chunked\r\n\r\n0\r\n\r\n",
     "error not_implemented")
CASE("coding gzip;q=\"a,\\\"b\", chunked", "POST /t HTTP/1.1\r\nHost: a.test\r\n"
     "Transfer-Encoding: gzip;q=\"a,\\\"b\", chunked\r\n\r\n0\r\n\r\n",
     "error not_implemented")
CASE("coding gzip;q=\"a", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip;q=\"a\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding gzip;q=\"a\\", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip;q=\"a\\\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding gzip;q=", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip;q=\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding gzip;=a", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip;=a\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding gzip; q=1 , deflate", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip; q=1 , deflate\r\n\r\n"
     "0\r\n\r\n",
     "error not_implemented")
CASE("coding gzip,,chunked", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip,,chunked\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding gzip,", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip,\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding x y", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: x y\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding chunked<80>", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\200\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding chunke", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunke\r\n\r\n0\r\n\r\n",
     "error not_implemented")
CASE("coding cchunked", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: cchunked\r\n\r\n0\r\n\r\n",
     "error not_implemented")
CASE("coding chunked, gzip", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding gzip;q", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip;q\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding twice other", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("coding and length 0", "POST /t HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "error bad_framing")
CASE("length with 1.0", "POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nab",
     "POST / a.test 1.0 len=2 close {ab} | close")
CASE("length twice 1.0", "POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
     "error bad_framing")
CASE("no body for post", "POST /t HTTP/1.1\r\nHost: a.test\r\n\r\nGET /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "POST /t a.test {} | GET /t a.test {} | end")
CASE("connection close", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nX: 1\r\nX-Other: 2\r\n"
     "Cookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "GET /t a.test close [X=1] [X-Other=2] [Cookie=c] [Authorization=z] [Via=1.1 v] [X-Forwarde"
     "d-For=f] [X-Forwarded-Port=1] [User-Agent=u] {} | close")
CASE("connection Close", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Close\r\nX: 1\r\nX-Other: 2\r\n"
     "Cookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "GET /t a.test close [X=1] [X-Other=2] [Cookie=c] [Authorization=z] [Via=1.1 v] [X-Forwarde"
     "d-For=f] [X-Forwarded-Port=1] [User-Agent=u] {} | close")
CASE("connection CLOSE , x", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: CLOSE , x\r\nX: 1\r\nX-Other: 2\r\n"
     "Cookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "GET /t a.test close [X-Other=2] [Cookie=c] [Authorization=z] [Via=1.1 v] [X-Forwarded-For="
     "f] [X-Forwarded-Port=1] [User-Agent=u] {} | close")
CASE("connection keep-alive", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive\r\nX: 1\r\nX-Other: 2\r\n"
     "Cookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "GET /t a.test [X=1] [X-Other=2] [Cookie=c] [Authorization=z] [Via=1.1 v] [X-Forwarded-For="
     "f] [X-Forwarded-Port=1] [User-Agent=u] {} | end")
CASE("connection close,close", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: close,close\r\nX: 1\r\nX-Other: 2\r\n"
     "Cookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "GET /t a.test close [X=1] [X-Other=2] [Cookie=c] [Authorization=z] [Via=1.1 v] [X-Forwarde"
     "d-For=f] [X-Forwarded-Port=1] [User-Agent=u] {} | close")
CASE("connection ", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: \r\nX: 1\r\nX-Other: 2\r\nCookie: c\r\n"
     "Authorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\nX-Forwarded-Port: 1\r\n"
     "User-Agent: u\r\n\r\n",
     "GET /t a.test [X=1] [X-Other=2] [Cookie=c] [Authorization=z] [Via=1.1 v] [X-Forwarded-For="
     "f] [X-Forwarded-Port=1] [User-Agent=u] {} | end")
CASE("connection ,", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: ,\r\nX: 1\r\nX-Other: 2\r\nCookie: c\r\n"
     "Authorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\nX-Forwarded-Port: 1\r\n"
     "User-Agent: u\r\n\r\n",
     "GET /t a.test [X=1] [X-Other=2] [Cookie=c] [Authorization=z] [Via=1.1 v] [X-Forwarded-For="
     "f] [X-Forwarded-Port=1] [User-Agent=u] {} | end")
CASE("connection , ,close,", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: , ,close,\r\nX: 1\r\nX-Other: 2\r\n"
     "Cookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "GET /t a.test close [X=1] [X-Other=2] [Cookie=c] [Authorization=z] [Via=1.1 v] [X-Forwarde"
     "d-For=f] [X-Forwarded-Port=1] [User-Agent=u] {} | close")
CASE("connection x y", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: x y\r\nX: 1\r\nX-Other: 2\r\n"
     "Cookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "error bad_request")
CASE("connection close;", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: close;\r\nX: 1\r\nX-Other: 2\r\n"
     "Cookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "error bad_request")
CASE("connection \"close\"", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: \"close\"\r\nX: 1\r\nX-Other: 2\r\n"
     "Cookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "error bad_request")
CASE("connection close close", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: close close\r\nX: 1\r\nX-Other: 2\r\n"
     "Cookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "error bad_request")
CASE("connection clo<e9>", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: clo\351\r\nX: 1\r\nX-Other: 2\r\n"
     "Cookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "error bad_request")
CASE("connection Host", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Host\r\nX: 1\r\nX-Other: 2\r\n"
     "Cookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "GET /t a.test [X=1] [X-Other=2] [Cookie=c] [Authorization=z] [Via=1.1 v] [X-Forwarded-For="
     "f] [X-Forwarded-Port=1] [User-Agent=u] {} | end")
CASE("connection Content-Length, X", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Content-Length, X\r\nX: 1\r\n"
     "X-Other: 2\r\nCookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "GET /t a.test [X-Other=2] [Cookie=c] [Authorization=z] [Via=1.1 v] [X-Forwarded-For=f] [X-"
     "Forwarded-Port=1] [User-Agent=u] {} | end")
CASE("connection Cookie, Authorization, Via, Forwarded, X-Forwarded-For, X-Forwarded-Port, X-Real-IP", "GET /t HTTP/1.1\r\nHost: a.test\r\n"
     "Connection: Cookie, Authorization, Via, Forwarded, X-Forwarded-For, X-Forwarded-Port, X-Re"
     "al-IP\r\nX: 1\r\nX-Other: 2\r\nCookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\n"
     "X-Forwarded-For: f\r\nX-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "GET /t a.test [X=1] [X-Other=2] [Cookie=c] [Authorization=z] [Via=1.1 v] [X-Forwarded-For="
     "f] [X-Forwarded-Port=1] [User-Agent=u] {} | end")
CASE("connection x, X-Other, TE", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: x, X-Other, TE\r\nX: 1\r\n"
     "X-Other: 2\r\nCookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "GET /t a.test [Cookie=c] [Authorization=z] [Via=1.1 v] [X-Forwarded-For=f] [X-Forwarded-Po"
     "rt=1] [User-Agent=u] {} | end")
CASE("connection User-Agent", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: User-Agent\r\nX: 1\r\nX-Other: 2\r\n"
     "Cookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "GET /t a.test [X=1] [X-Other=2] [Cookie=c] [Authorization=z] [Via=1.1 v] [X-Forwarded-For="
     "f] [X-Forwarded-Port=1] {} | end")
CASE("connection X-", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: X-\r\nX: 1\r\nX-Other: 2\r\n"
     "Cookie: c\r\nAuthorization: z\r\nVia: 1.1 v\r\nX-Forwarded-For: f\r\n"
     "X-Forwarded-Port: 1\r\nUser-Agent: u\r\n\r\n",
     "GET /t a.test [X=1] [X-Other=2] [Cookie=c] [Authorization=z] [Via=1.1 v] [X-Forwarded-For="
     "f] [X-Forwarded-Port=1] [User-Agent=u] {} | end")
CASE("connection two fields", "GET /t HTTP/1.1\r\nHost: a.test\r\nX: 1\r\nConnection: x\r\nY: 2\r\n"
     "Connection: y, close\r\n\r\n",
     "GET /t a.test close {} | close")
CASE("connection names framing", "POST /t HTTP/1.1\r\nHost: a.test\r\nConnection: content-length\r\n"
     "Content-Length: 2\r\n\r\nab",
     "POST /t a.test len=2 {ab} | end")
CASE("connection 32 names", "GET /t HTTP/1.1\r\nHost: a.test\r\n"
     "Connection: a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a\r\n"
     "\r\n",
     "GET /t a.test {} | end")
CASE("connection 33 names", "GET /t HTTP/1.1\r\nHost: a.test\r\n"
     "Connection: a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a\r\n"
     "\r\n",
     "error bad_request")
CASE("te trailers", "GET /t HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
     "GET /t a.test te {} | end")
CASE("te Trailers", "GET /t HTTP/1.1\r\nHost: a.test\r\nTE: Trailers\r\nConnection: TE\r\n\r\n",
     "GET /t a.test te {} | end")
CASE("te gzip, trailers", "GET /t HTTP/1.1\r\nHost: a.test\r\nTE: gzip, trailers\r\nConnection: TE\r\n\r\n",
     "GET /t a.test te {} | end")
CASE("te trailers;q=1", "GET /t HTTP/1.1\r\nHost: a.test\r\nTE: trailers;q=1\r\nConnection: TE\r\n\r\n",
     "GET /t a.test {} | end")
CASE("te gzip", "GET /t HTTP/1.1\r\nHost: a.test\r\nTE: gzip\r\nConnection: TE\r\n\r\n",
     "GET /t a.test {} | end")
CASE("expect 100-continue", "POST /t HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
     "x",
     "POST /t a.test len=1 expect [Expect=100-continue] {x} | end")
CASE("expect 100-Continue", "POST /t HTTP/1.1\r\nHost: a.test\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n"
     "x",
     "POST /t a.test len=1 expect [Expect=100-Continue] {x} | end")
CASE("expect ", "POST /t HTTP/1.1\r\nHost: a.test\r\nExpect: \r\nContent-Length: 1\r\n\r\nx",
     "error expectation_failed")
CASE("expect 200-ok", "POST /t HTTP/1.1\r\nHost: a.test\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\nx",
     "error expectation_failed")
CASE("expect 100-continue, 100-continue", "POST /t HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue, 100-continue\r\n"
     "Content-Length: 1\r\n\r\nx",
     "error expectation_failed")
CASE("expect 100-continue;x=1", "POST /t HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue;x=1\r\n"
     "Content-Length: 1\r\n\r\nx",
     "error expectation_failed")
CASE("expect 100", "POST /t HTTP/1.1\r\nHost: a.test\r\nExpect: 100\r\nContent-Length: 1\r\n\r\nx",
     "error expectation_failed")
CASE("expect twice", "POST /t HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n"
     "Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
     "error expectation_failed")
CASE("expect without body", "POST /t HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n\r\n",
     "POST /t a.test {} | end")
CASE("expect length 0", "POST /t HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
     "POST /t a.test len=0 {} | end")
CASE("expect chunked", "POST /t HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "POST /t a.test chunked expect [Expect=100-continue] {} | end")
CASE("expect 1.0 unknown", "POST / HTTP/1.0\r\nHost: a.test\r\nExpect: x\r\nContent-Length: 1\r\n\r\nx",
     "POST / a.test 1.0 len=1 close {x} | close")
CASE("upgrade websocket", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
     "GET /t a.test upgrade=websocket {} | end")
CASE("upgrade foo/2", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: foo/2\r\n\r\n",
     "GET /t a.test upgrade=foo/2 {} | end")
CASE("upgrade foo/2/3", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: foo/2/3\r\n\r\n",
     "GET /t a.test {} | end")
CASE("upgrade foo, bar", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: foo, bar\r\n\r\n",
     "GET /t a.test {} | end")
CASE("upgrade ", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: \r\n\r\n",
     "GET /t a.test {} | end")
CASE("upgrade /1", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: /1\r\n\r\n",
     "GET /t a.test {} | end")
CASE("upgrade foo/", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: foo/\r\n\r\n",
     "GET /t a.test {} | end")
CASE("upgrade a b", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: a b\r\n\r\n",
     "GET /t a.test {} | end")
CASE("upgrade foo bar/1", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: foo bar/1\r\n\r\n",
     "GET /t a.test {} | end")
CASE("upgrade not in connection", "GET /t HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n",
     "GET /t a.test {} | end")
CASE("upgrade field missing", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\n\r\n",
     "GET /t a.test {} | end")
CASE("upgrade two fields", "GET /t HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: a\r\n"
     "Upgrade: a\r\n\r\n",
     "GET /t a.test {} | end")
CASE("upgrade 1.0", "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n",
     "GET / a.test 1.0 close {} | close")
CASE("upgrade with body", "POST /t HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: a\r\n"
     "Content-Length: 1\r\n\r\nx",
     "POST /t a.test len=1 {x} | end")
CASE("upgrade length 0", "POST /t HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: a\r\n"
     "Content-Length: 0\r\n\r\n",
     "POST /t a.test len=0 upgrade=a {} | end")
CASE("chunk plain", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
     "\r\n",
     "POST /t a.test chunked {hello} | end")
CASE("chunk empty", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | end")
CASE("chunk many", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n"
     "10\r\n0123456789abcdef\r\n00\r\n\r\n",
     "POST /t a.test chunked {abc0123456789abcdef} | end")
CASE("chunk then request", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
     "\r\nGET /t HTTP/1.1\r\nHost: a.test\r\n\r\n",
     "POST /t a.test chunked {hello} | GET /t a.test {} | end")
CASE("chunk 16 digits", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
     "0000000000000005\r\nhello\r\n0\r\n\r\n",
     "POST /t a.test chunked {hello} | end")
CASE("chunk 17 digits", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
     "00000000000000005\r\nhello\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk largest", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
     "ffffffffffffffff\r\nhi",
     "POST /t a.test chunked {hi} | body")
CASE("chunk cr in size", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r5\r\nhello\r\n"
     "0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk space before", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
     " 0\r\n\r\n",
     "POST /t a.test chunked {hello} | error bad_chunk")
CASE("chunk ext bare", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;\r\nhello\r\n"
     "0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk ext space", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5; a\r\nhello\r\n"
     "0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk ext space before", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5 ;a\r\nhello\r\n"
     "0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk ext no value", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\r\nhello\r\n"
     "0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk ext equals", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;=b\r\nhello\r\n"
     "0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk ext quoted", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
     "5;a=\"b\\\"\t;\\\\\351\";c\r\nhello\r\n0\r\n\r\n",
     "POST /t a.test chunked {hello} | end")
CASE("chunk ext quoted cr", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\rc\"\r\n"
     "hello\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk ext quoted lf", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\nc\"\r\n"
     "hello\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk ext quoted pair lf", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\\\nc\"\r\n"
     "hello\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk ext quoted open", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\r\n"
     "hello\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk ext after quote", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"c\r\n"
     "hello\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk ext nul", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a\000\r\nhello\r\n"
     "0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk ext twice", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c=d;e\r\n"
     "hello\r\n0;f=g\r\n\r\n",
     "POST /t a.test chunked {hello} | end")
CASE("chunk ext double semicolon", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;;a\r\nhello\r\n"
     "0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk ext value token", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b/c\r\n"
     "hello\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk line 256", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
     "5;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
     "hello\r\n0\r\n\r\n",
     "POST /t a.test chunked {hello} | end")
CASE("chunk line 257", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
     "5;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"
     "hello\r\n0\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk trailers", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n"
     "y:\t2 \r\n\r\n",
     "POST /t a.test chunked {} <X=1> <y=2> | end")
CASE("chunk trailer empty value", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX:\r\n\r\n",
     "POST /t a.test chunked {} <X=> | end")
CASE("chunk trailer fold", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n 2\r\n"
     "\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk trailer no colon", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk trailer empty name", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n: x\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk trailer space colon", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX : x\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk trailer bare lf", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: x\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk trailer bare cr", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: x\ry\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk trailer nul", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: \000\r\n\r\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk trailer end lf", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: x\r\n\n",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk trailer end cr", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: x\r\n\rx",
     "POST /t a.test chunked {} | error bad_chunk")
CASE("chunk trailer forbidden", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n"
     "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
     "Trailer: x\r\nContent-Encoding: gzip\r\nAuthorization: x\r\nCookie: x\r\n"
     "Set-Cookie: x\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 1\r\nCache-Control: x\r\n"
     "If-Match: x\r\nX_Y: z\r\nDigest: ok\r\nProxy-Foo: x\r\n\r\n",
     "POST /t a.test chunked {} <Digest=ok> | end")
CASE("chunk trailer unfinished", "POST /t HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: x\r\n",
     "POST /t a.test chunked {} | body")
