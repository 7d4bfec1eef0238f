using FlashSale.LoadTests;

// FlashSale.LoadTests overload URL PATH SKU TOKENS SECONDS CONNECTIONS RATE…
//   Shoppers on CONNECTIONS connections, each after its own Poisson clock, RATE purchases a second in all; one stage of SECONDS per RATE.
//   Prints a line of figures per stage.
if (args is not ["overload", var url, var path, var sku, var tokens, var seconds, var connections, .. var rates] || rates.Length == 0)
{
    await Console.Error.WriteLineAsync("usage: FlashSale.LoadTests overload URL PATH SKU TOKENS SECONDS CONNECTIONS RATE…");
    return 64;
}
var crowd = new Overload(new Uri(url), path, sku, tokens, int.Parse(connections));
foreach (var rate in rates) Console.WriteLine(await crowd.RunAsync(double.Parse(rate), TimeSpan.FromSeconds(int.Parse(seconds))));
return 0;
