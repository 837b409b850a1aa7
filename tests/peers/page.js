// page.js FILE: runs the script of a bench's HTML report without a browser and prints what it drew.
'use strict';
const page = require('fs').readFileSync(process.argv[2], 'utf8');
const inside = (open, from) => { const a = page.indexOf(open, from) + open.length; return page.slice(a, page.indexOf('</script>', a)); };
const json = inside(`<script type='application/json' id='report'>`, 0), script = inside('<script>\n', page.lastIndexOf('<script>\n'));
const element = { report: { textContent: json } };
const document = { title: '', getElementById: id => element[id] || (element[id] = { innerHTML: '', addEventListener() {} }) };
new Function('document', 'getSelection', script)(document, () => { throw new Error('nobody clicked'); });
console.log(JSON.stringify({ title: document.title, top: element.top.innerHTML, all: element.all.innerHTML }));
