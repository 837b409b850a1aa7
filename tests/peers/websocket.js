// A WebSocket peer on node's ws.
//
//   websocket.js server PORT    echoes; "open?" is answered with how many are open, "ping me" with "ponged" when
//                               the pong has come, "close me" with a close of its own: 4001, "because"
//   websocket.js client URL     talks to such a server, prints what it saw as one line of JSON
'use strict';
const crypto = require('crypto');
const WebSocket = require('ws');

function serve(port) {
    const server = new WebSocket.WebSocketServer({host: '127.0.0.1', port, maxPayload: 64 << 20});
    server.on('connection', (ws) => {
        ws.on('message', (data, binary) => {
            const text = binary ? null : data.toString();
            if (text === 'open?') {
                ws.send(String(server.clients.size));
            } else if (text === 'ping me') {
                ws.once('pong', () => ws.send('ponged'));
                ws.ping('are you there');
            } else if (text === 'close me') {
                ws.close(4001, 'because');
            } else {
                ws.send(data, {binary});
            }
        });
    });
}

function once(ws, name) {
    return new Promise((resolve, reject) => {
        ws.once(name, (...words) => resolve(words));
        ws.once('error', reject);
    });
}

async function open(url) {
    const ws = new WebSocket(url, {maxPayload: 64 << 20});
    await once(ws, 'open');
    return ws;
}

async function ask(ws, data) {
    const answer = once(ws, 'message');
    ws.send(data);
    const [got, binary] = await answer;
    return binary ? got : got.toString();
}

async function talk(url) {
    const out = {};
    let ws = await open(url);
    out.text = await ask(ws, 'gr\u00fc\u00df dich');
    const blob = crypto.randomBytes(1 << 20);
    out.binary = Buffer.compare(await ask(ws, blob), blob) === 0;
    const long = 'x'.repeat(1 << 20);
    out.long_text = await ask(ws, long) === long;
    out.many = 0;
    for (let i = 0; i < 200; i++)
        out.many += await ask(ws, String(i)) === String(i);
    const pong = once(ws, 'pong');
    ws.ping('12');
    out.pong = (await pong)[0].toString();
    out.ponged = await ask(ws, 'ping me');
    let closed = once(ws, 'close');
    ws.close(4002, 'mine');
    out.own_close = (await closed)[0];
    ws = await open(url);
    closed = once(ws, 'close');
    ws.send('close me');
    const [code, reason] = await closed;
    out.its_close = [code, reason.toString()];
    console.log(JSON.stringify(out));
}

const [, , role, where] = process.argv;
if (role === 'server') {
    serve(Number(where));
} else {
    talk(where).catch((error) => {
        console.error(error);
        process.exit(1);
    });
}
