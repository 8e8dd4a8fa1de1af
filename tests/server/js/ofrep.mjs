// Asks a control plane for flags as programs in JavaScript do: OFREP_URL and OFREP_KEY say where and as whom.
// Prints one line of JSON for the server's provider, one for the browser's, and one when the browser's saw a change.
import { OFREPProvider } from '@openfeature/ofrep-provider';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';
import { OpenFeature as Server } from '@openfeature/server-sdk';
import { OpenFeature as Web, ProviderEvents } from '@openfeature/web-sdk';

const { OFREP_URL: baseUrl, OFREP_KEY: key } = process.env;
const tell = (document) => process.stdout.write(`${JSON.stringify(document)}\n`);
const brief = ({ value, variant, reason, errorCode }) => ({ value, variant, reason, errorCode });

await Server.setProviderAndWait(new OFREPProvider({ baseUrl, headers: [['Authorization', `Bearer ${key}`]] }));
const server = Server.getClient();
const pro = { targetingKey: 'u1', plan: 'pro' };
tell({
  bool: await server.getBooleanValue('js-bool', false, pro),
  text: await server.getStringValue('js-text', '', pro),
  number: await server.getNumberValue('js-number', 0, pro),
  object: await server.getObjectValue('js-object', {}, pro),
  other: brief(await server.getBooleanDetails('js-bool', true, { targetingKey: 'u2' })),
  off: (await server.getBooleanDetails('js-off', true, pro)).value,
  none: brief(await server.getBooleanDetails('js-none', true, pro)),
  mismatch: (await server.getStringDetails('js-bool', 'x', pro)).errorCode,
});

await Web.setContext(pro);
await Web.setProviderAndWait(
  new OFREPWebProvider({ baseUrl, pollInterval: 100, cacheMode: 'disabled', headers: [['X-API-Key', key]] }),
);
const web = Web.getClient();
const changed = new Promise((resolve) => web.addHandler(ProviderEvents.ConfigurationChanged, resolve));
tell({
  bool: web.getBooleanValue('js-bool', false),
  text: web.getStringValue('js-text', ''),
  number: web.getNumberValue('js-number', 0),
  object: web.getObjectValue('js-object', {}),
  off: brief(web.getBooleanDetails('js-off', true)),
  none: web.getBooleanDetails('js-none', true).errorCode,
});
await Web.setContext({ targetingKey: 'u1', plan: 'free' });
const free = web.getBooleanValue('js-bool', true);
await Web.setContext(pro);
tell({ free });
await changed;
while (web.getStringValue('js-text', '') === 'y') await new Promise((resolve) => setTimeout(resolve, 20));
tell({ text: web.getStringValue('js-text', '') });
await Web.close();
await Server.close();
