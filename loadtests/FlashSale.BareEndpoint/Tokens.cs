using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace FlashSale.BareEndpoint;

/// <summary>
/// Writes tokens of the users load-0000000, load-0000001, …, signed with HS256 and valid for a day. All lines have the
/// same length, so a load script finds the n-th token by its offset.
/// </summary>
internal static class Tokens
{
    /// <summary>
    /// Reads the settings Jwt:Kid, Jwt:Issuer, Jwt:Audience and Jwt:Secret, and returns the exit code 0.
    /// </summary>
    public static int Write(int count, string file, IConfiguration configuration)
    {
        var jwt = configuration.GetRequiredSection("Jwt");
        var secret = Encoding.UTF8.GetBytes(jwt["Secret"] ?? throw new InvalidOperationException("Jwt:Secret is not set."));
        var head = Encode($"{{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"{jwt["Kid"]}\"}}");
        var now = TimeProvider.System.GetUtcNow().ToUnixTimeSeconds();
        using var writer = new StreamWriter(file, append: false, Encoding.ASCII, bufferSize: 1 << 20);
        writer.NewLine = "\n";
        for (var i = 0; i < count; i++)
        {
            var input = head + "." + Encode($"{{\"iss\":\"{jwt["Issuer"]}\",\"aud\":\"{jwt["Audience"]}\",\"sub\":\"load-{i:D7}\",\"iat\":{now},\"exp\":{now + 86_400}}}");
            writer.Write(input);
            writer.Write('.');
            writer.WriteLine(Base64Url.EncodeToString(HMACSHA256.HashData(secret, Encoding.ASCII.GetBytes(input))));
        }

        return 0;
    }

    private static string Encode(string json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));
}
