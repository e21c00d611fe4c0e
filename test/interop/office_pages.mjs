// Microsoft's own client, with all of its own middleware, goes through lists by its PageIterator: started with GATE TOKENS, as office_clients.mjs is,
// but GATE is https, for the client follows no other link.
import { Client, PageIterator } from "@microsoft/microsoft-graph-client";

const [gate, given] = process.argv.slice(2);
const tokens = JSON.parse(given);
const out = {};
for (const [name, token] of Object.entries(tokens)) {
	const client = Client.init({ baseUrl: `${gate}/graph/`, defaultVersion: "v1.0", customHosts: new Set([new URL(gate).hostname]), authProvider: (done) => done(null, token) });
	const pages = async (path) => {
		const seen = [];
		const first = await client.api(path).top(1).get();
		const links = [first["@odata.nextLink"]];
		const all = new PageIterator(client, first, (item) => seen.push(item.subject ?? item.name) > 0);
		const fetching = all.fetchAndUpdateNextPageData.bind(all);
		all.fetchAndUpdateNextPageData = async () => (await fetching(), links.push(all.nextLink));
		await all.iterate();
		return { seen: seen.sort(), complete: all.isComplete(), links };
	};
	out[name] = { mail: await pages("/me/messages"), files: await pages("/me/drive/root/children"), events: await pages("/me/events") };
}
console.log(JSON.stringify(out));
