using System.ComponentModel.DataAnnotations;

namespace FlashSale.Admin.Access;

/// <summary>The tokens that this host accepts. Section <c>Admin</c>.</summary>
public sealed class AdminOptions
{
    /// <summary>The accepted tokens, at least one.</summary>
    public List<AdminToken> Tokens { get; set; } = [];
}

/// <summary>A bearer token. The host knows only its hash.</summary>
public sealed class AdminToken
{
    /// <summary>The name of the holder in the audit log.</summary>
    [Required]
    [RegularExpression(@"[A-Za-z0-9._@\-]{1,64}", ErrorMessage = "allowed is 1 to 64 of A-Z a-z 0-9 . _ @ -.")]
    public string Name { get; set; } = "";

    /// <summary>
    /// The role of the holder. Each role includes those before it: <c>viewer</c>, <c>manager</c>, <c>operator</c>.
    /// </summary>
    [Required]
    [RegularExpression("viewer|manager|operator", ErrorMessage = "allowed is viewer, manager or operator.")]
    public string Role { get; set; } = "";

    /// <summary>SHA-256 of the token, 64 hexadecimal digits: <c>printf %s "$token" | sha256sum</c>.</summary>
    [Required, FlashSale.Platform.Secret]
    [RegularExpression("[0-9A-Fa-f]{64}", ErrorMessage = "allowed is the SHA-256 of the token, 64 hexadecimal digits.")]
    public string Sha256 { get; set; } = "";
}
